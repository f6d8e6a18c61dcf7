"""One deploy of the receiver, as its platform does it: the commands as they stand, with what the platform sets.

They run as a user who may write nothing but a temporary folder, on the files that .dockerignore lets into the image.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from receiver.sandbox.sender import Answer
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests import inherited
from tests.field.first_delivery import deliver
from tests.field.platforms import Deploy, procfile
from tests.receiver.owners import files
from tests.receiver.processes import ROOT, Receiver

NOBODY = 10_001
"""The user of the image."""
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
AS_NOBODY += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
"""It may read everything, since the Python of the tests may be in root's home, and write nothing."""
BIN = Path(sys.executable).parent


def can_run() -> bool:
    """Whether we may start processes as another user. Only root can."""
    return os.geteuid() == 0 and shutil.which("setpriv") is not None


@contextmanager
def code_of_the_image() -> Iterator[Path]:
    """A folder with the files that .dockerignore lets into the image, which NOBODY can read and not write."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for path in _in_the_image():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
        folder.chmod(0o755)
        yield folder


@dataclass
class Deployed:
    """The processes of one deploy, in `folder`. `machine` is what the platform sets beside the settings."""

    folder: Path
    deploy: Deploy
    machine: dict[str, str]
    log: Path
    receiver: Receiver
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def release_and_start(self) -> None:
        """As the platform orders them: Scalingo releases when the processes are there already."""
        if not self.deploy.releases_last:
            self.release()
        self.start(self.deploy.web)
        if self.deploy.worker:
            self.start(self.deploy.worker, self.deploy.settings_of_worker)
        if self.deploy.releases_last:
            eventually(lambda: self.status("/healthz") == 200 or self.lost())
            self.release()

    def release(self) -> None:
        """The release phase, which must succeed. Where the platform has none, the documents say this command."""
        assert self.run(self.deploy.release or procfile()["release"]) == 0, self.said()

    def start(self, command: str, settings: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a command as the platform does: in a process of its own, without a shell."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*AS_NOBODY, *shlex.split(command)],
                cwd=self.folder,
                env={**(settings or self.deploy.settings), **self.machine},
                start_new_session=True,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def run(self, command: str) -> int:
        """The exit status of a command that ends by itself."""
        status = self.start(command).wait(PATIENCE_SECONDS)
        self.processes.pop()
        return status

    def status(self, path: str) -> int:
        """What a check of the platform is answered, which comes over plain HTTP and without a router."""
        return self.receiver.status(path)

    def deliver(self) -> Answer:
        """What the platform's router passes on."""
        return deliver(self.receiver.url, {**self.deploy.settings, **self.machine})

    def lost(self) -> bool:
        """Whether a process ended that was to stay."""
        return any(process.poll() is not None for process in self.processes)

    def stop(self) -> list[int]:
        """The exit statuses after the platform's signal."""
        for process in self.processes:
            process.send_signal(signal.Signals[self.deploy.stops_by])
        return [process.wait(PATIENCE_SECONDS) for process in self.processes]

    def said(self) -> str:
        """The end of the log."""
        return self.log.read_text()[-2000:]


@contextmanager
def started(code: Path, deploy: Deploy, place: str) -> Iterator[Deployed]:
    """A deploy of which nothing runs yet. What is left of it at the end is killed."""
    with TemporaryDirectory() as name:
        temporary = Path(name)
        shutil.chown(temporary, NOBODY, NOBODY)
        receiver = Receiver({})
        machine = {
            **inherited(),
            **deploy.announces,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": "/nonexistent",
            "TMPDIR": str(temporary),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PORT": str(receiver.port),
            "DATABASE_URL": f"{deploy.url}postgres:p%40ss@{place}",
        }
        with TemporaryDirectory() as logs:
            deployed = Deployed(code, deploy, machine, Path(logs) / "log", receiver)
            try:
                yield deployed
            finally:
                for process in deployed.processes:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                receiver.stop()


def _in_the_image() -> list[str]:
    """What .dockerignore lets in. git reads the same patterns."""
    command = ["git", "-c", f"core.excludesFile={ROOT / '.dockerignore'}", "check-ignore", "--no-index", "--stdin"]
    with TemporaryDirectory() as empty:
        subprocess.run(["git", "init", "--quiet", empty], check=True)
        asked = subprocess.run(
            command, cwd=empty, input="\n".join(files()), capture_output=True, text=True, check=False
        )
    return sorted(set(files()) - set(asked.stdout.splitlines()))
