"""What a worker remembers of its own pace: which handlers are quick, and when it looked for something last."""

from datetime import datetime, timedelta

QUICK_SECONDS = 0.02
FADING = 0.9
CLAIMED_AT_ONCE = 64
HURRY_SECONDS = 0.002
"""All in all, for each event of a lease. Where it takes less, a larger lease keeps little from other workers."""


class Paces:
    """How long the handlers of each type took lately, in this process.

    Quick ones may share a transaction, for none of them will make the others wait.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._hurry = False

    def note(self, event_type: str, seconds: float) -> None:
        """One attempt took so long. A slow one is remembered for a while."""
        self._seconds[event_type] = max(seconds, FADING * self._seconds.get(event_type, 0.0))

    def is_quick(self, event_type: str) -> bool:
        """False for a type that nobody has seen yet."""
        return self._seconds.get(event_type, QUICK_SECONDS) < QUICK_SECONDS

    def claim_size(self, most: int) -> int:
        """How many events to lease: as many as allowed while a backlog of quick ones is worked off, or some of them.

        A lease is a COMMIT of its own. But what one worker has leased, no other can begin.
        """
        return most if self._hurry else min(most, CLAIMED_AT_ONCE)

    def worked_off(self, events: int, seconds: float) -> None:
        """What was leased is done, and took so long in all."""
        self._hurry = events >= CLAIMED_AT_ONCE and seconds < events * HURRY_SECONDS


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
