"""Ctrl-C as a flag that a command reads between two steps, not as an exception in the middle of a step.

In the middle of a query, the exception would reach the database driver, which would raise an error of its own instead.
In a finalizer it would be lost. The second Ctrl-C stops the command at once.
"""

import signal
import time
from types import FrameType, TracebackType
from typing import Any

LOOK_SECONDS = 0.1


class CtrlC:
    """Notes Ctrl-C while a `with` block runs."""

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
        """Pause for so many seconds, or until Ctrl-C."""
        until = time.monotonic() + seconds
        while not self.pressed and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
