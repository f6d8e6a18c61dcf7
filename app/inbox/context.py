"""What every inbox operation needs, bound once by `create_app()`: the database, the settings, the clock."""

from dataclasses import dataclass, field
from random import Random

from sqlalchemy.engine import Engine

from app.clock import Clock
from app.config import Settings
from app.database import database_now
from app.inbox.latency import Latencies
from app.inbox.tally import Tally


@dataclass(frozen=True)
class Inbox:
    """The inbox of one process."""

    engine: Engine
    settings: Settings
    clock: Clock
    tally: Tally = field(default_factory=Tally)
    latencies: Latencies = field(default_factory=Latencies)
    random: Random = field(default_factory=Random)

    def now(self, *, plus: float = 0.0) -> database_now:
        """The database's clock, moved by the test's offset and by `plus` seconds, as an SQL expression."""
        return database_now(self.clock.offset.total_seconds() + plus)
