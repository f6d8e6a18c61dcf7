"""Real processes of the receiver, as a platform starts them: gunicorn and `flask worker`, on a free port."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from receiver.sandbox.loopback import held_port
from receiver.sandbox.sender import Sender
from receiver.store.inbox import Inbox
from receiver.testing.waiting import eventually
from tests import inherited

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody else gets until it is given back, or this process ends."""
    with ExitStack() as place:
        port = held_port(place)
        _held[port] = place.pop_all()
    return port


def listens(port: int) -> bool:
    """Whether somebody takes connections at this port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60):
        return True
    return False


def within(seconds: float, act: Callable[[], Any], tries: int = 10) -> Any:
    """What `act` returns, once it takes less. A busy machine makes it late now and then, but not each time."""
    for _ in range(tries):
        begun = time.monotonic()
        result = act()
        if time.monotonic() - begun < seconds:
            return result
    raise AssertionError(f"it took {seconds:g} s or more, {tries} times")


def workers_of(parent: int) -> list[int]:
    """The living children of a process that say that they are workers: gunicorn's, or those of `flask worker`."""
    return [pid for pid in _running() if _parent(pid) == parent and alive(pid) and b"worker" in _command(pid)]


def family_of(pid: int) -> list[int]:
    """The process, its children, their children and so on."""
    children = [found for found in _running() if _parent(found) == pid]
    return [pid, *(member for child in children for member in family_of(child))]


def alive(pid: int) -> bool:
    """Whether the process runs. One that only waits for its parent to notice its end does not."""
    return _stat(pid)[:1] not in ([], ["Z"])


class Receiver:
    """The receiver's processes on one database. `kill()` is SIGKILL; what was killed is started again by hand.

    `folder` holds the code that runs: this checkout, or another release.
    """

    def __init__(self, environment: dict[str, str], folder: Path = ROOT, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/webhooks/senang"
        self.environment = {**inherited(), **environment, "PORT": str(self.port), **settings}
        self.log: Path | None = None  # where the processes write; nowhere by default
        self._processes: list[subprocess.Popen[bytes]] = []

    def web(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = self.start("-m", "gunicorn", "wsgi:app", *arguments)
        eventually(lambda: process.poll() is not None or self.answers("/healthz"))
        return process

    def worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start("-m", "flask", "--app", "wsgi", "worker", *arguments)

    def flask(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "flask", "--app", "wsgi", *arguments, check=check)

    def python(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=check
        )

    def answers(self, path: str) -> bool:
        return self.status(path) == 200

    def status(self, path: str) -> int:
        """The status of the answer; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def sender(self, inbox: Inbox) -> Sender:
        """Knocks at these processes over the network."""
        return Sender(self.url, inbox.settings.scheme, inbox.settings.signature_keys[0], inbox.clock)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL to the process and all its children, as when a machine is lost."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self._processes:
            self.kill(process)
        if self.port in _held:
            _held.pop(self.port).close()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.log or Path(os.devnull)).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)
        return process


_held: dict[int, ExitStack] = {}
"""The ports that this process keeps others from getting."""


@atexit.register
def _give_back() -> None:
    for place in _held.values():
        place.close()


@contextmanager
def running(environment: dict[str, str], folder: Path = ROOT, **settings: str) -> Iterator[Receiver]:
    receiver = Receiver(environment, folder, **settings)
    try:
        yield receiver
    finally:
        receiver.stop()


def _running() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int | None:
    stat = _stat(pid)
    return int(stat[1]) if stat else None


def _stat(pid: int) -> list[str]:
    """State, parent and so on. Nothing when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _command(pid: int) -> bytes:
    """Its command line and its name: a process that was forked has its parent's command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/comm").read_bytes()
    except OSError:
        return b""
