"""What every inbox operation needs, bound once by `create_app()`: the database, the settings, the clock."""

from dataclasses import dataclass, field
from functools import cached_property, partial

from sqlalchemy.engine import Engine

from receiver.clock import Clock
from receiver.config import Settings
from receiver.database.engine import is_pooled
from receiver.database.now import database_now
from receiver.green import Lane
from receiver.ingest.arrivals import Arrival
from receiver.ingest.arrivals_postgresql import PooledArrivals, PostgresqlArrivals
from receiver.ingest.arrivals_sqlite import SqliteArrivals
from receiver.ingest.group_commit import GroupCommit, Store
from receiver.lines import Lines
from receiver.store.environment import Guard
from receiver.store.latency import Latencies
from receiver.store.tally import OVERFLOW, Key, Tally

COMMIT_DEADLINE_SECONDS = 2.5
"""From when a delivery was read, for all that is to be stored of it: the answer must be out within 3 s."""


@dataclass(frozen=True)
class Inbox:
    """The inbox of one process."""

    engine: Engine
    settings: Settings
    clock: Clock
    tally: Tally[Key] = field(default_factory=partial(Tally, OVERFLOW))
    latencies: Latencies = field(default_factory=Latencies)
    comparisons: Lane = field(default_factory=partial(Lane, places=16))  # of passwords

    @cached_property
    def committer(self) -> GroupCommit[Arrival]:
        """What stores new events for every request of this process."""
        store = arrival_store(self.engine, self.settings, self.clock)
        return GroupCommit(store, patience=COMMIT_DEADLINE_SECONDS)

    @cached_property
    def lines(self) -> Lines:
        """The log lines that strangers can cause."""
        return Lines(self.clock)

    @cached_property
    def guard(self) -> Guard:
        """What keeps `live` away from a sandbox's database."""
        return Guard(self.engine, self.settings.environment)

    def close(self) -> None:
        """Give the connections up, when everything that waits is stored."""
        self.committer.close()
        self.engine.dispose()

    def now(self, *, plus: float = 0.0) -> database_now:
        """The database's clock, moved by the test's offset and by `plus` seconds, as an SQL expression."""
        return database_now(self.clock.offset.total_seconds() + plus)


def arrival_store(engine: Engine, settings: Settings, clock: Clock) -> Store[Arrival]:
    """What writes new events to this database."""
    kind: type[SqliteArrivals] | type[PostgresqlArrivals] = SqliteArrivals
    if engine.dialect.name == "postgresql":
        kind = PooledArrivals if is_pooled(engine) else PostgresqlArrivals
    return kind(engine, clock, settings.environment, settings.payload_keys[0].id)
