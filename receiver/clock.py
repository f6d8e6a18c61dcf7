"""One clock for the whole process. Nothing else asks the operating system for the date.

Code that judges time takes a moment as an argument. Code that needs the present moment asks this object. So a test can
move the time by its `offset` instead of waiting. The database's clock gets the same offset.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass
class Clock:
    """The system's clock plus an offset, which is zero outside tests."""

    offset: timedelta = timedelta()

    def now(self) -> datetime:
        """The present moment, in UTC."""
        return datetime.now(UTC) + self.offset

    def advance(self, **step: float) -> None:
        """Move the time forward by `timedelta(**step)`."""
        self.offset += timedelta(**step)
