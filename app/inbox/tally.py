"""Keeps floods out of the audit log: beyond a small rate, what repeats is counted and written once a minute.

Anybody can send rejected requests, a sender gone wild can repeat one event for ever, and a handler can put its events
off for ever. The first few of a kind in each minute get their own row; the rest are counted here, in memory, and become
one row with a count when the minute is over. A process that is killed loses at most one minute of such counts, never a
first row.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import NamedTuple


class Key(NamedTuple):
    """What is counted, as the audit log names it."""

    result: str
    event_id: str | None = None
    event_type: str | None = None
    action: str = "delivery"


Sums = list[tuple[Key, int]]

ROWS_A_MINUTE = 10
MOST_KEYS = 10_000
OVERFLOW = Key("other")


class Tally:
    """The counts of the present minute."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._minute: datetime | None = None
        self._seen: Counter[Key] = Counter()
        self._summed: Counter[Key] = Counter()
        self._finished: Counter[Key] = Counter()

    def admits(self, key: Key, now: datetime) -> bool:
        """Whether this occurrence gets a row of its own; if not, it has been counted."""
        with self._lock:
            self._open(now)
            if key not in self._seen and len(self._seen) >= MOST_KEYS:
                key = OVERFLOW
            self._seen[key] += 1
            if self._seen[key] <= ROWS_A_MINUTE:
                return True
            self._summed[key] += 1
            return False

    def has_finished(self, now: datetime) -> bool:
        """Whether a minute is over whose sums nobody has written yet."""
        return bool(self._finished) or (bool(self._summed) and now.replace(second=0, microsecond=0) != self._minute)

    @contextmanager
    def finished_sums(self, now: datetime) -> Iterator[Sums]:
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

    def take_all(self) -> Sums:
        """Every sum, the present minute's too: the process is about to end."""
        with self._lock:
            return _emptied(self._finished) + _emptied(self._summed)

    def _open(self, now: datetime) -> None:
        minute = now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute = minute
            self._seen.clear()
            self._finished.update(dict(_emptied(self._summed)))


def _emptied(counts: Counter[Key]) -> Sums:
    sums = list(counts.items())
    counts.clear()
    return sums
