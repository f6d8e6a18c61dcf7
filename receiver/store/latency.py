"""How long deliveries take from their first byte to their commit, counted in buckets and added to the hourly sums.

The audit row can't have this time: it is written in the transaction that would have to be timed. The counts stay in
memory and are written every few seconds, beside the deliveries. A process that is killed loses the last few.
"""

import time
from bisect import bisect_left
from datetime import UTC, datetime

import structlog
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from receiver.database.causes import cause_of
from receiver.database.engine import writing
from receiver.database.insert import insert_into
from receiver.store.models import BEYOND, LATENCY, HourlySum
from receiver.store.tally import Unwritten

BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper bounds in milliseconds; what is longer counts as `BEYOND`."""
_NAMES = [*map(str, BUCKETS), BEYOND]
WRITE_SECONDS = 5.0

log = structlog.get_logger()


class Latencies:
    """The timings of one process: how many there are of each hour and bucket."""

    def __init__(self) -> None:
        self._counts: Unwritten[tuple[float, str]] = Unwritten()
        self._written_at = time.monotonic()

    def note(self, now: datetime, milliseconds: float) -> bool:
        """Count one delivery. Says whether it is time to write."""
        hour = now.timestamp() // 3600
        self._counts.add((hour, _NAMES[bisect_left(BUCKETS, milliseconds)]))
        return time.monotonic() - self._written_at > WRITE_SECONDS

    def write(self, engine: Engine) -> None:
        """Add the counts to the sums. Best effort: on an error they are kept for the next time."""
        self._written_at = time.monotonic()
        try:
            with self._counts.taken() as counts:
                _add(engine, counts)
        except SQLAlchemyError as error:
            log.warning("latencies_not_written", error=cause_of(error))


def _add(engine: Engine, counts: list[tuple[tuple[float, str], int]]) -> None:
    with writing(engine) as session:
        for (hour, bucket), number in sorted(counts):  # all writers lock the rows in one order
            insert = insert_into(HourlySum, engine.dialect.name)
            begin = datetime.fromtimestamp(hour * 3600, UTC)
            insert = insert.values(hour=begin, kind=LATENCY, name=bucket, occurrences=number)
            total = {"occurrences": HourlySum.occurrences + insert.excluded.occurrences}
            session.execute(insert.on_conflict_do_update(index_elements=["hour", "kind", "name"], set_=total))
