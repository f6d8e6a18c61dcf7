"""A worker beside gunicorn's web workers, so that a lone web process is a whole receiver.

gunicorn's master reaps every child, this one too, so its exit status may be lost; that it is gone is not. The
worker stops by itself when the master is killed, because it watches its parent.
"""

import os
import subprocess
import sys
import threading

from app.database import ROOT

CHECK_SECONDS = 1.0
STOP_SECONDS = 15.0


class EmbeddedWorker:
    """Keeps one `flask worker` running from a thread of gunicorn's master."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._master = 0

    def start(self) -> None:
        """Start the worker, and start it again whenever it has died."""
        if self._master == os.getpid():
            return
        self._master = os.getpid()
        threading.Thread(target=self._keep, name="embedded-worker", daemon=True).start()

    def replace(self) -> None:
        """End the worker; the next one has the new code and settings."""
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """End the worker for good, within its own time to stop."""
        if self._master != os.getpid():
            return
        self._stopping.set()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _keep(self) -> None:
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "worker"]
        while not self._stopping.is_set():
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(command, cwd=ROOT)  # noqa: S603 - no part of it is input
            self._stopping.wait(CHECK_SECONDS)


embedded_worker = EmbeddedWorker()
