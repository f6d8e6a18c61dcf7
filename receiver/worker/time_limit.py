"""Stops a handler that takes too long, in the main thread of a worker, by SIGALRM.

The error derives from BaseException, so that a handler's own `except Exception` can't swallow it. A handler that is
stuck in C code never sees the error. Then the worker's parent, which reads the reports, kills the process. When a
worker dies, its last report says which event was running.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTION_SECONDS = 1.0


class HandlerTimeout(BaseException):
    """The attempt reached its time limit."""

    def __str__(self) -> str:
        return "the handler reached its time limit"


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
        self._interrupt: Callable[[], bool] = lambda: False
        self._stopped_by: type[BaseException] | None = None
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
    def of(self, seconds: float, interrupt: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Raise HandlerTimeout in the block once it has run for `seconds`, or HandBack when the worker has to stop.

        `interrupt` makes what the block waits for fail by itself, and says whether there was something to be stopped.
        """
        self._ends_at = time.monotonic() + seconds
        self._interrupt, self._stopped_by = interrupt, None
        self._tell(self._begun, self._ends_at)
        signal.signal(signal.SIGALRM, self._on_alarm)  # a handler's library may have taken it
        self._running = True
        self._set_alarm()
        try:
            yield
        except Exception as error:
            if self._stopped_by:
                raise self._stopped_by from error
            raise
        finally:
            self._running = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._tell(self._begun, 0.0)
        if self._stopped_by:
            raise self._stopped_by

    def stop_soon(self, seconds: float) -> None:
        """Let a running attempt finish within `seconds`, and none begin."""
        self._stops_at = time.monotonic() + seconds
        if self._running:
            self._set_alarm()

    def _set_alarm(self) -> None:
        _ring_in(min(self._ends_at, self._stops_at) - time.monotonic())

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if not self._running:
            return
        if time.monotonic() < min(self._ends_at, self._stops_at):  # a handler's library set the timer anew
            self._set_alarm()
            return
        first = self._stopped_by is None
        self._stopped_by = HandBack if self._stops_at <= self._ends_at else HandlerTimeout
        if first and self._interrupt():
            _ring_in(INTERRUPTION_SECONDS)  # it may swallow the error and go on
            return
        raise self._stopped_by


def _ring_in(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))  # zero would switch it off
