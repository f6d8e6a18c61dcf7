"""Stops a handler that takes too long, in the main thread of a worker, by SIGALRM.

What is raised derives from BaseException, so that a handler's own `except Exception` can't swallow it. A
handler stuck in C code never sees it; the worker's parent kills that process after a grace.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class HandlerTimeout(BaseException):
    """The attempt reached its time limit."""


class HandBack(BaseException):
    """The worker has to stop: the attempt is undone and costs nothing."""


class TimeLimit:
    """The alarm clock of a worker process. `stop_soon()` may be called from a signal handler."""

    def __init__(self) -> None:
        self._raises: BaseException | None = None
        self._running = False

    @contextmanager
    def of(self, seconds: float) -> Iterator[None]:
        """Raise HandlerTimeout in the block once it has run for `seconds`."""
        previous = signal.signal(signal.SIGALRM, self._on_alarm)
        self._raises, self._running = HandlerTimeout(), True
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            self._running = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)

    def stop_soon(self, seconds: float) -> None:
        """Give a running handler this long to finish; then raise HandBack in it."""
        if self._running and signal.getitimer(signal.ITIMER_REAL)[0] > seconds:
            self._raises = HandBack()
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if self._running and self._raises is not None:
            raise self._raises
