"""Wakes idle workers at once on PostgreSQL (LISTEN/NOTIFY). Workers also poll, so a lost wake-up costs only a second.

A listener needs a session of its own. A pooler in transaction mode has none. Then a worker listens past the pooler
(`DATABASE_DIRECT_URL`), or only polls.
"""

import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from receiver.database.causes import driver_errors
from receiver.database.engine import past_the_pooler

if TYPE_CHECKING:  # loaded only where the database is PostgreSQL
    import psycopg

CHANNEL = "senang_inbox"
POLL_SECONDS = 1.0
SQLITE_POLL_SECONDS = 0.2
LISTEN_AGAIN_SECONDS = 30.0  # or a way past the pooler that is closed would cost its time limit at every poll


def notify(session: Session) -> None:
    """Wake the workers when the session's transaction commits. Several calls in a transaction make one wake-up."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"NOTIFY {CHANNEL}"))


class Listener:
    """Waits for a wake-up, at most a second."""

    def __init__(self, engine: Engine) -> None:
        self._on_sqlite = engine.dialect.name != "postgresql"
        self._engine = past_the_pooler(engine)
        self._connection: Any = None
        self._listen_from = 0.0

    def wait(self) -> None:
        """Return at the next wake-up or after `POLL_SECONDS`, whichever comes first."""
        if self._engine is None or self._on_sqlite or time.monotonic() < self._listen_from:
            time.sleep(SQLITE_POLL_SECONDS if self._on_sqlite else POLL_SECONDS)
            return
        failures: tuple[type[Exception], ...] = (SQLAlchemyError, *driver_errors())
        try:
            for _ in self._listening(self._engine).notifies(timeout=POLL_SECONDS, stop_after=1):
                pass
        except failures:
            if self._connection is None:  # it could not even be opened
                self._listen_from = time.monotonic() + LISTEN_AGAIN_SECONDS
            self.close()
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Close the connection. The next `wait()` opens another."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _listening(self, engine: Engine) -> "psycopg.Connection[Any]":
        if self._connection is None:
            self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        driver: psycopg.Connection[Any] = self._connection.connection.dbapi_connection
        return driver
