"""The session a handler gets: everything a session does, but ending the transaction.

The handler's writes and "this event is processed" commit together or not at all, so only the worker may commit. The
session lives behind a savepoint of the worker's transaction: what it did is kept or undone by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

_FORBIDDEN_SQL = ("COMMIT", "ROLLBACK", "END", "ABORT", "BEGIN", "START", "PREPARE")
_GUARDED = "handler_is_running"
CANCEL_SECONDS = 2.0


class HandlerMisuse(Exception):
    """A handler tried to end its transaction itself."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"a handler may not {what}: its writes commit together with the event's new state, after it returns. "
            "Use session.flush() to see database errors early, session.begin_nested() to undo a part."
        )


class HandlerSession(Session):
    """A session whose transaction belongs to the worker. `misuse` remembers an error that was swallowed."""

    misuse: HandlerMisuse | None = None
    _notes: dict[Any, Any] | None = None  # the guarded connection's own; it can't be asked once it is broken
    _driver: Any = None

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, join_transaction_mode="create_savepoint")

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """In the block the transaction can't be ended. What was done in it is kept, or undone when it raises.

        Raises the misuse that the handler swallowed, if any.
        """
        connection = self.connection()
        self._driver = connection.connection.driver_connection
        self._notes = connection.info
        self._notes[_GUARDED] = self
        try:
            yield
            self._drop_guard()
            if self.misuse is not None:
                raise self.misuse
            super().commit()
        except BaseException:
            self._drop_guard()
            super().rollback()
            raise

    def interrupt(self) -> bool:
        """Cancel the statement that is under way: the connection, and who shares its transaction, live on.

        Says whether there was one. May be called from a signal handler.
        """
        if not isinstance(self._driver, psycopg.Connection):
            return False
        if self._driver.pgconn.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
            return False
        self._driver.cancel_safe(timeout=CANCEL_SECONDS)
        return True

    def commit(self) -> None:
        """Refused while a handler runs."""
        self._refuse_when_guarded("commit")
        super().commit()

    def rollback(self) -> None:
        """Refused while a handler runs."""
        self._refuse_when_guarded("roll back")
        super().rollback()

    def close(self) -> None:
        """Refused while a handler runs."""
        self._refuse_when_guarded("close the session")
        super().close()

    def _drop_guard(self) -> None:
        if self._notes is not None:
            self._notes.pop(_GUARDED, None)
            self._notes = None

    def _refuse_when_guarded(self, what: str) -> None:
        if self._notes is not None:
            _refuse(self, what)


def _refuse(session: HandlerSession, what: str) -> NoReturn:
    session.misuse = HandlerMisuse(what)
    raise session.misuse


@sa.event.listens_for(Engine, "commit")
def _on_commit(connection: Connection) -> None:
    if session := connection.info.get(_GUARDED):
        _refuse(session, "commit")


@sa.event.listens_for(Engine, "before_cursor_execute")
def _on_execute(
    connection: Connection, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
) -> None:
    session = connection.info.get(_GUARDED)
    if session is None:
        return
    words = statement.lstrip().upper().split(maxsplit=2)
    ends_transaction = bool(words) and words[0].rstrip(";") in _FORBIDDEN_SQL
    if ends_transaction and words[:2] != ["ROLLBACK", "TO"]:
        _refuse(session, f"execute {words[0].rstrip(';')}")
