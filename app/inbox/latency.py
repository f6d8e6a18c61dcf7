"""How long deliveries take from their first byte to their commit, counted in buckets and added to the hourly sums.

The audit row is written in the transaction that it would have to time, so it can't say. Counts are kept in memory and
written every few seconds, beside the deliveries: a process that is killed loses the last few, which are only timings.
"""

import time
from bisect import bisect_left
from collections import Counter
from datetime import datetime
from threading import Lock

import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.database import writing
from app.inbox.models import HourlySum

BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper bounds in milliseconds; what is longer counts as `BEYOND`."""
BEYOND = "more"
_NAMES = [*map(str, BUCKETS), BEYOND]
KIND = "latency"
WRITE_SECONDS = 5.0

log = structlog.get_logger()


class Latencies:
    """The counts of one process that are not written yet."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[tuple[datetime, str]] = Counter()
        self._written_at = time.monotonic()

    def note(self, now: datetime, milliseconds: float) -> bool:
        """Count one delivery. Says whether it is time to write."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        bucket = _NAMES[bisect_left(BUCKETS, milliseconds)]
        with self._lock:
            self._counts[hour, bucket] += 1
            return time.monotonic() - self._written_at > WRITE_SECONDS

    def write(self, engine: Engine) -> None:
        """Add the counts to the sums. Best effort: on an error they are kept for the next time."""
        with self._lock:
            counts, self._counts, self._written_at = self._counts, Counter(), time.monotonic()
        try:
            _add(engine, counts)
        except SQLAlchemyError as error:
            log.warning("latencies_not_written", error=type(error).__name__)
            with self._lock:
                self._counts.update(counts)


def _add(engine: Engine, counts: Counter[tuple[datetime, str]]) -> None:
    dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
    with writing(engine) as session:
        for (hour, bucket), number in sorted(counts.items()):  # all writers lock the rows in one order
            insert = dialect.insert(HourlySum).values(hour=hour, kind=KIND, name=bucket, occurrences=number)
            total = {"occurrences": HourlySum.occurrences + insert.excluded.occurrences}
            session.execute(insert.on_conflict_do_update(index_elements=["hour", "kind", "name"], set_=total))
