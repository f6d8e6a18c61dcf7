"""What a worker remembers of its own pace: which handlers are quick, how many events it can lease at once, and when it
looked for lost leases last.
"""

from datetime import datetime, timedelta

QUICK_SECONDS = 0.02
NEWEST = 0.1
"""How much of the average is the newest attempt: one that had to wait for a busy processor makes no type slow."""
FAILURE_SECONDS = 3 * QUICK_SECONDS
"""So slow is a handler that failed: it has to succeed some ten times until it counts as quick again."""
LEASED_SECONDS = 0.5
"""For so much work a worker takes leases: no other worker can run what is leased."""
FIRST_LEASED = 8
"""How many events a worker leases while it does not know its pace."""


class Paces:
    """How long the handlers of each type take on average, in this process. The latest attempts count most.

    Quick handlers may share a transaction, because none of them makes the others wait. A handler that fails makes the
    others run again, so it counts as slow for a while.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._seconds_an_event = LEASED_SECONDS / FIRST_LEASED

    def note_batch(self, events: int, seconds: float) -> None:
        """So many events that were leased together took so long."""
        self._seconds_an_event = seconds / events

    def at_once(self, most: int) -> int:
        """How many events to lease, at the pace of the last batch."""
        if self._seconds_an_event * most <= LEASED_SECONDS:
            return most
        return max(1, int(LEASED_SECONDS / self._seconds_an_event))

    def note(self, event_type: str, seconds: float) -> None:
        """One attempt took so long. A very slow one is remembered for a while."""
        average = self._seconds.get(event_type, seconds)
        self._seconds[event_type] = average + NEWEST * (seconds - average)

    def note_failure(self, event_type: str) -> None:
        """One attempt failed."""
        self._seconds[event_type] = max(FAILURE_SECONDS, self._seconds.get(event_type, 0.0))

    def is_quick(self, event_type: str) -> bool:
        """False for a type that nobody has seen yet."""
        return self._seconds.get(event_type, QUICK_SECONDS) < QUICK_SECONDS


class OnceASecond:
    """Something that is worth doing, but not every time."""

    def __init__(self) -> None:
        self._done_at: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Whether it is time. If so, it counts as done."""
        if self._done_at is not None and timedelta() <= now - self._done_at < timedelta(seconds=1):
            return False
        self._done_at = now
        return True

    def again(self) -> None:
        """There was something to do: it is due at once."""
        self._done_at = None
