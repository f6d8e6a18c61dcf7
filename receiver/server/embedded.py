"""A worker beside gunicorn's web workers, so that a lone web process is a whole receiver.

gunicorn's master reaps every child, this one too. So its exit status may be lost, but we still see that it is gone.
When the master is killed, the worker stops by itself: it watches its parent.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from receiver.database.url import ROOT
from receiver.endless import endless

CHECK_SECONDS = 1.0
STOP_SECONDS = 15.0


class EmbeddedWorker:
    """Keeps one `flask worker` running from a thread of gunicorn's master."""

    def __init__(self, spawn: Callable[[int], int] | None = None) -> None:
        self._spawn = spawn or _spawn
        self._worker: int | None = None
        self._stopping = threading.Event()
        self._master = 0

    def start(self) -> None:
        """Start the worker, and start it again each time it dies."""
        if self._master == os.getpid():
            return
        self._master = os.getpid()
        threading.Thread(target=self._keep, name="embedded-worker", daemon=True).start()

    def replace(self) -> None:
        """End the worker. The next one has the new code and settings."""
        if self._worker is not None and not _is_gone(self._worker):
            os.kill(self._worker, signal.SIGTERM)

    def stop(self) -> None:
        """End the worker for good. It gets its own time to stop."""
        if self._master != os.getpid():
            return
        self._stopping.set()
        self.replace()
        until = time.monotonic() + STOP_SECONDS
        while self._worker is not None and not _is_gone(self._worker):
            if time.monotonic() > until:
                os.kill(self._worker, signal.SIGKILL)
                break
            time.sleep(0.1)

    def _keep(self) -> None:
        endless(self._look_after_worker, name="embedded worker's keeper")

    def _look_after_worker(self) -> bool:
        if self._worker is None or _is_gone(self._worker):
            self._worker = None
            self._worker = self._spawn(self._master)
        return not self._stopping.wait(CHECK_SECONDS)


def _spawn(master: int) -> int:
    """Start the worker and return its process ID. It counts nothing for Prometheus.

    It does not use subprocess, which opens a pipe to the new process. A web worker that the master forks at the same
    moment would inherit the pipe, and this thread would wait for it as long as that web worker lives.
    """
    flask = [sys.executable, "-m", "flask", "--app", str(ROOT / "wsgi.py")]
    environment = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    return os.posix_spawn(sys.executable, [*flask, "worker", "--parent", str(master)], environment)


def _is_gone(process: int) -> bool:
    try:
        return os.waitpid(process, os.WNOHANG)[0] == process
    except ChildProcessError:
        return True


embedded_worker = EmbeddedWorker()
