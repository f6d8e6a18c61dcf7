"""What every process needs of the inbox, bound once by `create_app()`: the database, the settings, the clock.

What a web process adds is an `Intake` (receiver/ingest/intake.py).
"""

from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from sqlalchemy.engine import Engine

from receiver.clock import Clock
from receiver.config import Settings
from receiver.database.engine import make_engine
from receiver.database.now import database_now
from receiver.database.sealed_text import give_keys
from receiver.store.applied import InForce
from receiver.store.environment import Guard
from receiver.store.tally import OVERFLOW, Key, Tally


@dataclass(frozen=True)
class Inbox:
    """The inbox of one process. Its engine has the keys for a partner's SealedText."""

    engine: Engine
    in_force: InForce
    clock: Clock
    tally: Tally[Key] = field(default_factory=partial(Tally, OVERFLOW))

    def __post_init__(self) -> None:
        give_keys(self.engine, self.settings.payload_keys)

    @property
    def settings(self) -> Settings:
        """The settings that count at this moment: the environment's, or with what an operator applied on the page."""
        return self.in_force.settings

    def look_for_applied(self) -> None:
        """See what was applied elsewhere, if it is time. Raises SQLAlchemyError."""
        if self.in_force.is_due():
            self.in_force.look(self.engine)

    @cached_property
    def guard(self) -> Guard:
        """What keeps `live` away from a sandbox's database."""
        return Guard(self.engine, self.settings.environment)

    def apart(self, connections: int) -> "Inbox":
        """The same inbox on so many connections of its own, which nobody else can take."""
        return replace(self, engine=make_engine(self.settings.database_url, connections))

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def now(self, *, plus: float = 0.0) -> database_now:
        """The database's clock, moved by the test's offset and by `plus` seconds, as an SQL expression."""
        return database_now(self.clock.offset.total_seconds() + plus)
