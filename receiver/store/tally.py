"""Keeps floods out of the audit log and the log: what repeats is written a few times a minute, and beyond that counted.

Anybody can send rejected requests, a sender gone wild can repeat one event for ever, and a handler can put its events
off for ever. The first few of a kind in each minute get a row or line of their own; the rest are counted here, in
memory, and become one with a count when the minute is over. A process that is killed loses at most one minute of such
counts, never a first row.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import Generic, NamedTuple, TypeVar


class Key(NamedTuple):
    """What is counted, as the audit log names it."""

    result: str
    event_id: str | None = None
    event_type: str | None = None
    action: str = "delivery"


Kind = TypeVar("Kind", bound=Hashable)
Line = tuple[tuple[str, str | int], ...]
"""What log lines have in common that are counted together: names and values."""
Sums = list[tuple[Key, int]]

ROWS_A_MINUTE = 10
MOST_KEYS = 10_000
OVERFLOW = Key("other")
OTHER_LINES: Line = (("event", "other"),)


class Tally(Generic[Kind]):
    """The counts of the present minute, by kind. What is of too many kinds is counted as `overflow`."""

    def __init__(self, overflow: Kind) -> None:
        self._overflow = overflow
        self._lock = Lock()
        self._minute: datetime | None = None
        self._seen: Counter[Kind] = Counter()
        self._summed: Counter[Kind] = Counter()
        self._finished: Counter[Kind] = Counter()

    def admits(self, key: Kind, now: datetime) -> bool:
        """Whether this occurrence gets a row or line of its own; if not, it has been counted."""
        with self._lock:
            self._open(now)
            if key not in self._seen and len(self._seen) >= MOST_KEYS:
                key = self._overflow
            self._seen[key] += 1
            if self._seen[key] <= ROWS_A_MINUTE:
                return True
            self._summed[key] += 1
            return False

    def has_finished(self, now: datetime) -> bool:
        """Whether a minute is over whose sums nobody has written yet."""
        return bool(self._finished) or (bool(self._summed) and now.replace(second=0, microsecond=0) != self._minute)

    @contextmanager
    def finished_sums(self, now: datetime) -> Iterator[list[tuple[Kind, int]]]:
        """The sums of minutes that are over, each handed out once; taken back when the block could not write them.

        A sum whose commit arrived and whose answer did not is written twice: too many is better than none.
        """
        with self._lock:
            self._open(now)
            sums = _emptied(self._finished)
        try:
            yield sums
        except BaseException:
            with self._lock:
                self._finished.update(dict(sums))
            raise

    def take_all(self) -> list[tuple[Kind, int]]:
        """Every sum, the present minute's too: the process is about to end."""
        with self._lock:
            return _emptied(self._finished) + _emptied(self._summed)

    def _open(self, now: datetime) -> None:
        minute = now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute = minute
            self._seen.clear()
            self._finished.update(dict(_emptied(self._summed)))


def _emptied(counts: Counter[Kind]) -> list[tuple[Kind, int]]:
    sums = list(counts.items())
    counts.clear()
    return sums
