"""The session that a handler gets. It can do everything that a session can, but it can't end the transaction.

The handler's writes and "this event is processed" commit together or not at all, so only the worker may commit.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, RootTransaction
from sqlalchemy.orm import Session

if TYPE_CHECKING:  # loaded only where the database is PostgreSQL
    from psycopg.pq.abc import PGconn

_FORBIDDEN_SQL = ("COMMIT", "ROLLBACK", "END", "ABORT", "BEGIN", "START", "PREPARE")
_COMMENTS = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)+", re.S)
CANCEL_SECONDS = 2.0
_IDLE, _ACTIVE, _INERROR = 0, 1, 3
"""States of a transaction, as libpq numbers them (PGTransactionStatusType)."""

_guarded: dict[Any, "HandlerSession"] = {}
"""The driver's connections on which a handler runs at the moment."""


class HandlerMisuse(Exception):
    """A handler tried to end its transaction itself."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"a handler may not {what}: its writes commit together with the event's new state, after it returns. "
            "Use session.flush() to see database errors early, session.begin_nested() to undo a part."
        )


class SwallowedError(Exception):
    """A handler continued after an error of the database. PostgreSQL then undoes the whole transaction."""

    def __init__(self) -> None:
        super().__init__(
            "a handler caught an error of the database and went on: PostgreSQL keeps nothing of a transaction after "
            "one. What may fail belongs in `with session.begin_nested():`."
        )


class HandlerSession(Session):
    """A session whose transaction belongs to the worker. It serves the attempts of that transaction, one after another.

    `misuse` remembers an error that was swallowed.
    """

    misuse: HandlerMisuse | None = None

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, join_transaction_mode="rollback_only")
        self.worker_connection = connection  # on which the worker's transaction is under way
        self._driver: Any = connection.connection.driver_connection
        self._libpq: PGconn | None = getattr(self._driver, "pgconn", None)  # None on SQLite

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """In the block the transaction can't be ended.

        Raises the misuse that the handler swallowed, if any, and SwallowedError.
        """
        self.misuse = None
        transaction, was_open = self.worker_connection.get_transaction(), self._is_open()
        _guarded[self._driver] = self
        try:
            yield
        finally:
            del _guarded[self._driver]
        self._check(transaction, was_open=was_open)

    def end(self) -> None:
        """Roll back what is not committed, and give the connection up."""
        super().close()
        self.worker_connection.close()

    def interrupt(self) -> bool:
        """Cancel the statement that is under way: the connection, and who shares its transaction, live on.

        Says whether there was one. May be called from a signal handler.
        """
        if not self._transaction_is(_ACTIVE):
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

    def _transaction_is(self, status: int) -> bool:
        """As libpq knows it; on SQLite it is in none of these states."""
        return self._libpq is not None and self._libpq.transaction_status == status

    def _is_open(self) -> bool:
        """Whether the database knows of a transaction. PostgreSQL does from its first statement on."""
        return not self._transaction_is(_IDLE) if self._libpq else bool(self._driver.in_transaction)

    def _check(self, begun: RootTransaction | None, *, was_open: bool) -> None:
        if self.misuse is not None:
            raise self.misuse
        if self._transaction_is(_INERROR):
            raise SwallowedError  # SQLite goes on after an error
        present = self.worker_connection.get_transaction()
        is_under_way = present is begun and present is not None and present.is_active
        if not is_under_way or (was_open and not self._is_open()):
            raise HandlerMisuse("end its transaction")
        while nested := self.get_nested_transaction():
            nested.commit()  # begun without `with`, and left open
        if len(self.identity_map):
            self.expunge_all()

    def _refuse_when_guarded(self, what: str) -> None:
        if self._driver in _guarded:
            _refuse(self, what)


def _refuse(session: HandlerSession, what: str) -> NoReturn:
    session.misuse = HandlerMisuse(what)
    raise session.misuse


def guard(engine: Engine) -> None:
    """Watch the handlers on this engine, and on no other engine."""
    sa.event.listen(engine, "commit", _on_commit)
    sa.event.listen(engine, "before_cursor_execute", _before_statement)


def _on_commit(connection: Connection) -> None:
    if session := _guarded.get(connection.connection.driver_connection):
        _refuse(session, "commit")


def _before_statement(
    _connection: Connection, cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
) -> None:
    session = _guarded.get(cursor.connection)
    if session is None:
        return
    words = [word.upper() for word in _COMMENTS.sub("", statement, count=1).split(maxsplit=2)[:2]]
    ends_transaction = bool(words) and words[0].rstrip(";") in _FORBIDDEN_SQL
    if ends_transaction and words != ["ROLLBACK", "TO"]:
        _refuse(session, f"execute {words[0].rstrip(';')}")
