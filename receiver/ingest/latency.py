"""How long deliveries take from their first byte to their commit, counted in buckets and added to the hourly sums.

The audit row is written in the transaction that it would have to time, so it can't say. Counts are kept in memory and
written every few seconds, beside the deliveries: a process that is killed loses the last few, which are only timings.
"""

import time
from bisect import bisect_left
from collections import Counter, deque
from contextlib import suppress
from datetime import datetime

import structlog
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from receiver.database.causes import cause_of
from receiver.database.engine import writing
from receiver.database.insert import insert_into
from receiver.store.models import BEYOND, LATENCY, HourlySum

BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper bounds in milliseconds; what is longer counts as `BEYOND`."""
_NAMES = [*map(str, BUCKETS), BEYOND]
WRITE_SECONDS = 5.0
MOST_NOTED = 200_000
"""While the database can't be written, what is more is forgotten."""

log = structlog.get_logger()


class Latencies:
    """The timings of one process that are not written yet. Noting one is an append; they are counted when written."""

    def __init__(self) -> None:
        self._noted: deque[tuple[datetime, float]] = deque(maxlen=MOST_NOTED)
        self._written_at = time.monotonic()

    def note(self, now: datetime, milliseconds: float) -> bool:
        """Count one delivery. Says whether it is time to write."""
        self._noted.append((now, milliseconds))
        return time.monotonic() - self._written_at > WRITE_SECONDS

    def write(self, engine: Engine) -> None:
        """Add the counts to the sums. Best effort: on an error they are kept for the next time."""
        self._written_at, taken = time.monotonic(), list[tuple[datetime, float]]()
        with suppress(IndexError):
            while True:
                taken.append(self._noted.popleft())
        try:
            _add(engine, Counter(_counted(*timing) for timing in taken))
        except SQLAlchemyError as error:
            log.warning("latencies_not_written", error=cause_of(error))
            self._noted.extendleft(reversed(taken))


def _counted(now: datetime, milliseconds: float) -> tuple[datetime, str]:
    return now.replace(minute=0, second=0, microsecond=0), _NAMES[bisect_left(BUCKETS, milliseconds)]


def _add(engine: Engine, counts: Counter[tuple[datetime, str]]) -> None:
    with writing(engine) as session:
        for (hour, bucket), number in sorted(counts.items()):  # all writers lock the rows in one order
            insert = insert_into(HourlySum, engine.dialect.name)
            insert = insert.values(hour=hour, kind=LATENCY, name=bucket, occurrences=number)
            total = {"occurrences": HourlySum.occurrences + insert.excluded.occurrences}
            session.execute(insert.on_conflict_do_update(index_elements=["hour", "kind", "name"], set_=total))
