"""A worker beside gunicorn's web workers, so that a lone web process is a whole receiver.

It is forked off the master and shares what both have loaded. It opens its own database connections. Of the master's
open files it keeps the standard ones alone.

gunicorn's master reaps every child, this one too. So its exit status may be lost, but we still see that it is gone.
When the master is killed, the worker stops by itself: it watches its parent.
"""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import structlog

from receiver import stopping
from receiver.endless import endless
from receiver.server import shared

CHECK_SECONDS = 1.0
NAME = "senang-worker"
"""As the system's list of processes has it, where the system is Linux."""


class EmbeddedWorker:
    """Keeps one worker running from a thread of gunicorn's master."""

    def __init__(self, spawn: Callable[[int], int] | None = None) -> None:
        self._spawn = spawn or _fork
        self._worker: int | None = None
        self._stopping = threading.Event()
        self._stop_seconds = self._stops_at = 0.0
        self._master = 0

    def start(self, *, stop_seconds: float) -> None:
        """Start the worker, and start it again each time it dies. A stop of everything may take so many seconds."""
        if self._master == os.getpid():
            return
        self._master, self._stop_seconds = os.getpid(), stop_seconds
        with suppress(OSError):  # the thread tries again
            self._worker = self._spawn(self._master)
        threading.Thread(target=self._keep, name="embedded-worker", daemon=True).start()

    def replace(self) -> None:
        """End the worker. The next one has the new code and settings."""
        if self._worker is not None and not _is_gone(self._worker):
            os.kill(self._worker, signal.SIGTERM)

    def begin_to_stop(self) -> None:
        """Tell the worker to end for good. A signal handler of the master may call it."""
        if self._master != os.getpid() or self._stopping.is_set():
            return
        self._stops_at = time.monotonic() + self._stop_seconds * stopping.WORKER_BESIDE
        self._stopping.set()
        self.replace()

    def stop(self) -> None:
        """End the worker for good, and wait for it."""
        if self._master != os.getpid():
            return
        self.begin_to_stop()
        self.replace()  # it may have been started just before it was told
        while self._worker is not None and not _is_gone(self._worker):
            if time.monotonic() > self._stops_at:
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


def _fork(master: int) -> int:
    """Start the worker and return its process ID. Signals are held back until it has none of the master's handlers."""
    mask = {*signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())}
    try:
        if worker := os.fork():
            return worker
        _be_worker(master, mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    raise AssertionError  # it has ended


def _be_worker(master: int, mask: set[int]) -> NoReturn:
    """Run the worker, and end the process whatever happens: the functions that called this one are the master's."""
    code = 1
    try:
        _forget_master()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _run(master)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        structlog.get_logger().error("unexpected_error", exc_info=error)
    finally:
        os._exit(code)


def _forget_master() -> None:
    """Give up the master's signal handlers, open files and counts. Its listening socket must not outlive it here."""
    for signal_number in signal.valid_signals():
        if callable(signal.getsignal(signal_number)):
            signal.signal(signal_number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        if number > 2 and number != nothing:
            os.dup2(nothing, number, inheritable=False)  # closed, its number would soon be another file's
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    with suppress(OSError):
        Path("/proc/self/comm").write_text(NAME)


def _run(master: int) -> None:
    """What `flask --app wsgi worker` does, in the partner's app."""
    gc.disable()
    from flask.cli import ScriptInfo  # the master reads this module before it knows its settings

    app = import_module("wsgi").app
    shared.settle()
    app.cli.main(["worker", "--parent", str(master)], prog_name="flask", obj=ScriptInfo(create_app=lambda: app))


def _is_gone(process: int) -> bool:
    try:
        return os.waitpid(process, os.WNOHANG)[0] == process
    except ChildProcessError:
        return True


embedded_worker = EmbeddedWorker()
