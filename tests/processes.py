"""Real processes of the receiver, as a platform starts them: gunicorn and `flask worker`, on a free port."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent
START_SECONDS = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition, seconds: float = START_SECONDS) -> None:
    """Wait for something that another process does. Fails when it doesn't happen."""
    until = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        pause.wait(0.05)


class Receiver:
    """The receiver's processes on one database. `kill_*` is SIGKILL; what was killed is started again by hand."""

    def __init__(self, environment: dict[str, str], **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/webhooks/senang"
        self.environment = {**_inherited(), **environment, "PORT": str(self.port), **settings}
        self._processes: list[subprocess.Popen[bytes]] = []

    def web(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = self.start("-m", "gunicorn", "wsgi:app", *arguments)
        eventually(lambda: process.poll() is not None or self.answers("/healthz"))
        return process

    def worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start("-m", "flask", "--app", "wsgi", "worker", *arguments)

    def flask(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=check)

    def answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=3) as response:
                return response.status == 200
        except OSError:
            return False

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL to the process and all its children, as when a machine is lost."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self._processes:
            self.kill(process)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process


@contextmanager
def running(environment: dict[str, str], **settings: str) -> Iterator[Receiver]:
    receiver = Receiver(environment, **settings)
    try:
        yield receiver
    finally:
        receiver.stop()


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
