"""What a worker remembers of its own pace: which handlers are quick, and when it looked for lost leases last."""

from datetime import datetime, timedelta

QUICK_SECONDS = 0.02
FADING = 0.9


class Paces:
    """How long the handlers of each type took lately, in this process.

    Quick handlers may share a transaction, because none of them makes the others wait.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def note(self, event_type: str, seconds: float) -> None:
        """One attempt took so long. A slow one is remembered for a while."""
        self._seconds[event_type] = max(seconds, FADING * self._seconds.get(event_type, 0.0))

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
