"""Wakes idle workers at once on PostgreSQL (LISTEN/NOTIFY). Polling stays the rule: a lost wake-up costs a second."""

import time
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

CHANNEL = "senang_inbox"
POLL_SECONDS = 1.0
SQLITE_POLL_SECONDS = 0.2


def notify(session: Session) -> None:
    """Wake the workers when the session's transaction commits; several calls in one make one wake-up."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"NOTIFY {CHANNEL}"))


class Listener:
    """Waits for a wake-up, at most a second."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None

    def wait(self) -> None:
        """Return at the next wake-up or after `POLL_SECONDS`, whichever comes first."""
        if self._engine.dialect.name != "postgresql":
            time.sleep(SQLITE_POLL_SECONDS)
            return
        try:
            for _ in self._listening().notifies(timeout=POLL_SECONDS, stop_after=1):
                pass
        except (psycopg.Error, SQLAlchemyError):
            self.close()
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Give the connection up; the next `wait()` opens another."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _listening(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        driver: psycopg.Connection[Any] = self._connection.connection.dbapi_connection
        return driver
