"""One clock for the whole process. Nothing else asks the operating system for the date.

Code that judges time takes a moment as an argument; code that must ask, asks this object, so that a test
can move time by its `offset` (which the database's clock receives too) instead of waiting.
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
        """Move on by `timedelta(**step)`."""
        self.offset += timedelta(**step)
