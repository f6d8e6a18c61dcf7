"""Ctrl-C as a question that a command asks between two steps, and not as an exception in the middle of one.

In the middle of a query the exception meets the database driver, whose own complaint then takes its place; within a
finalizer it is lost. Who presses Ctrl-C twice means it: then it strikes at once.
"""

import signal
import time
from types import FrameType, TracebackType
from typing import Any

LOOK_SECONDS = 0.1


class CtrlC:
    """Notes Ctrl-C for the length of a `with` block."""

    def __init__(self) -> None:
        self.pressed = False
        self._before: Any = None

    def __enter__(self) -> "CtrlC":
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def wait(self, seconds: float) -> None:
        """Pause for so long, or until Ctrl-C."""
        until = time.monotonic() + seconds
        while not self.pressed and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
