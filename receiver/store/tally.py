"""Counts that stay in memory and are written now and then, and the tally that keeps floods out of the audit log.

Anybody can send rejected requests. A broken sender can repeat one event for ever. A handler can put its events off for
ever. In each minute, the first few of a kind get a row or a line of their own. The rest are counted here, and become
one row or line with a count when the minute is over. A process that is killed loses at most one minute of such counts,
never a first row.

To count something else, add it to an `Unwritten` of its own, and write what `taken()` gives.
"""

import threading  # as a module: gunicorn's master loads this before gevent gives it other locks
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Generic, NamedTuple, TypeVar


class Key(NamedTuple):
    """The kind of what is counted, as the audit log names it."""

    result: str
    event_id: str | None = None
    event_type: str | None = None
    action: str = "delivery"


Kind = TypeVar("Kind", bound=Hashable)
Sums = list[tuple[Key, int]]

ROWS_A_MINUTE = 10
MOST_KEYS = 10_000
OVERFLOW = Key("other")


class Unwritten(Generic[Kind]):
    """How often each kind of thing happened since the counts were last written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Kind] = Counter()

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._counts)

    def add(self, kind: Kind, occurrences: int = 1) -> None:
        """Count it."""
        with self._lock:
            self._counts[kind] += occurrences

    @contextmanager
    def taken(self) -> Iterator[list[tuple[Kind, int]]]:
        """The counts, each handed out once; taken back when the block could not write them.

        A count whose commit arrived and whose answer did not is written twice: too many is better than none.
        """
        with self._lock:
            counts, self._counts = self._counts, Counter()
        try:
            yield list(counts.items())
        except BaseException:
            with self._lock:
                self._counts.update(counts)
            raise


class Tally(Generic[Kind]):
    """The counts of the present minute, by kind. What is of too many kinds is counted as `overflow`."""

    def __init__(self, overflow: Kind) -> None:
        self._overflow = overflow
        self._lock = threading.Lock()
        self._minute: datetime | None = None
        self._seen: Counter[Kind] = Counter()
        self._summed: Counter[Kind] = Counter()
        self._finished: Unwritten[Kind] = Unwritten()

    def admits(self, key: Kind, now: datetime) -> bool:
        """Whether this occurrence gets a row or line of its own. If not, it is counted here."""
        with self._lock:
            self._open(now)
            if key not in self._seen and len(self._seen) >= MOST_KEYS:
                key = self._overflow
            self._seen[key] += 1
            if self._seen[key] <= ROWS_A_MINUTE:
                return True
            self._summed[key] += 1
            return False

    def asked_once(self, now: datetime) -> Callable[[Kind], bool]:
        """`admits()` for one piece of work that may be tried more than once: each kind is counted once."""
        return cache(lambda kind: self.admits(kind, now))

    def has_finished(self, now: datetime) -> bool:
        """Whether a minute is over whose sums nobody has written yet."""
        return bool(self._finished) or (bool(self._summed) and now.replace(second=0, microsecond=0) != self._minute)

    @contextmanager
    def finished_sums(self, now: datetime) -> Iterator[list[tuple[Kind, int]]]:
        """The sums of minutes that are over, to be written in the block."""
        with self._lock:
            self._open(now)
        with self._finished.taken() as sums:
            yield sums

    @contextmanager
    def all_sums(self) -> Iterator[list[tuple[Kind, int]]]:
        """Every sum, the present minute's too, to be written in the block: the process is about to end."""
        with self._lock:
            self._finish()
        with self._finished.taken() as sums:
            yield sums

    def _open(self, now: datetime) -> None:
        minute = now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute = minute
            self._seen.clear()
            self._finish()

    def _finish(self) -> None:
        for kind, occurrences in self._summed.items():
            self._finished.add(kind, occurrences)
        self._summed.clear()
