"""`live` refuses a database that holds sandbox events (§8.3): at the start, at the door, in the worker and in commands.

`Guard` answers at every delivery. It looks into the database only every few seconds.
"""

import time

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from receiver.database.engine import reading
from receiver.store.models import StoredEvent

LOOK_SECONDS = 3.0
REFUSAL = "SENANG_ENVIRONMENT is live, and this database holds sandbox events. Give live a database of its own (§8.3)."
log = structlog.get_logger()


def environment_problem(session: Session, environment: str) -> str | None:
    """None, or a reason code."""
    if environment != "live":
        return None
    sandbox = sa.select(StoredEvent.id).where(StoredEvent.environment == sa.literal_column("'sandbox'"))
    return "holds_sandbox_events" if session.scalar(sandbox.limit(1)) else None


class Guard:
    """What one process knows about the database. The database is refused until the first look into it."""

    def __init__(self, engine: Engine, environment: str) -> None:
        self._engine, self._environment = engine, environment
        self._look_at = 0.0  # of the monotonic clock
        self._is_known = environment != "live"
        self.refuses = not self._is_known

    def is_due(self) -> bool:
        """Whether it is time to look again."""
        return not self._is_known or (self._environment == "live" and time.monotonic() > self._look_at)

    def look(self) -> bool:
        """Look into the database now. Returns whether it is refused. Raises SQLAlchemyError."""
        self._look_at = time.monotonic() + LOOK_SECONDS
        with reading(self._engine) as session:
            problem = environment_problem(session, self._environment)
        if problem:
            log.error("database_refused", reason=problem)
        self.refuses, self._is_known = problem is not None, True
        return self.refuses

    def refuses_now(self) -> bool:
        """Whether the database is refused. Looks again if it is time. Raises SQLAlchemyError."""
        return self.look() if self.is_due() else self.refuses
