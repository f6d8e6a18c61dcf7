"""Stops a handler that takes too long, in the main thread of a worker, by SIGALRM.

What is raised derives from BaseException, so that a handler's own `except Exception` can't swallow it. A
handler stuck in C code never sees it; the worker's parent, which watches what is reported, kills that process.
When a worker dies, what it reported last says which event it died of.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class HandlerTimeout(BaseException):
    """The attempt reached its time limit."""


class HandBack(BaseException):
    """The worker has to stop: the attempt is undone and costs nothing."""


class TimeLimit:
    """The alarm clock of a worker process. `stop_soon()` may be called from a signal handler.

    `report` is told which row's attempt was begun last, and until when its handler may run (seconds of the monotonic
    clock; 0 when no handler runs).
    """

    def __init__(self, report: Callable[[int, float], None] = lambda _inbox_id, _ends_at: None) -> None:
        self._tell = report
        self._begun = 0
        self._running = False
        self._ends_at = self._stops_at = math.inf

    @property
    def stopping(self) -> bool:
        """Whether no further attempt may begin."""
        return self._stops_at < math.inf

    def begin(self, inbox_id: int) -> None:
        """The attempt of this row begins. Raises HandBack when the worker has to stop."""
        if self.stopping:
            raise HandBack
        self._begun = inbox_id
        self._tell(inbox_id, 0.0)

    @contextmanager
    def of(self, seconds: float) -> Iterator[None]:
        """Raise HandlerTimeout in the block once it has run for `seconds`, or HandBack when the worker has to stop."""
        previous = signal.signal(signal.SIGALRM, self._on_alarm)
        self._ends_at = time.monotonic() + seconds
        self._tell(self._begun, self._ends_at)
        self._running = True
        self._set_alarm()
        try:
            yield
        finally:
            self._running = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
            self._tell(self._begun, 0.0)

    def stop_soon(self, seconds: float) -> None:
        """Let a running attempt finish within `seconds`, and none begin."""
        self._stops_at = time.monotonic() + seconds
        if self._running:
            self._set_alarm()

    def _set_alarm(self) -> None:
        left = min(self._ends_at, self._stops_at) - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(left, 0.001))  # zero would switch it off

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if self._running:
            raise HandBack if self._stops_at <= self._ends_at else HandlerTimeout
