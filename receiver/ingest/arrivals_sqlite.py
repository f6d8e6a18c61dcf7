"""Stores new events on SQLite: a group is two statements under the write lock, and a third where it names people.

The disk is waited for beside the event loop, if there is one.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from receiver.clock import Clock
from receiver.database.causes import cause_of
from receiver.database.engine import own_connection
from receiver.database.now import database_now_sql, driver_moment
from receiver.green import beside
from receiver.ingest.arrivals import AUDIT, AUDITED, COLUMNS, FIELDS, INDEXED, KEPT, OF_AUDIT, SAME_FOR_ALL, Arrival
from receiver.ingest.room import Refused, Unavailable

_NOW = database_now_sql("sqlite", "?")


class SqliteArrivals:
    """Writes on a connection of its own."""

    def __init__(self, engine: Engine, clock: Clock, environment: str, sealing_key: str) -> None:
        self._engine, self._clock = engine, clock
        self._constant = (environment, sealing_key)
        self._connection: sqlite3.Connection | None = None

    def store(self, items: Sequence[Arrival]) -> list[bool]:
        """Insert what is new."""
        try:
            connection = self._connected()
            return beside(lambda: self._store(connection, items))
        except (sqlite3.OperationalError, SQLAlchemyError) as error:  # locked, full, gone
            self.close()
            raise Unavailable(cause_of(error)) from error
        except Exception as error:
            raise Refused(cause_of(error)) from error

    def announce(self) -> None:
        """SQLite can't wake anybody; workers look often."""

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = own_connection(self._engine)
        return self._connection

    def _store(self, connection: sqlite3.Connection, items: Sequence[Arrival]) -> list[bool]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            new = self._insert(connection, items)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return [item.seal_id.hex in new for item in items]

    def _insert(self, connection: sqlite3.Connection, items: Sequence[Arrival]) -> dict[str, int]:
        """The row numbers of what was new, by seal ID."""
        ahead = self._clock.offset.total_seconds()
        rows = [value for item in items for value in _values(item)]
        statement = _insert_events(len(items))
        new = dict(connection.execute(statement, [*rows, *self._constant, ahead, ahead]).fetchall())
        audited = [
            value
            for item in items
            if item.seal_id.hex in new
            for value in (item.event_id, item.event_type, *item[len(COLUMNS) : len(FIELDS)], new[item.seal_id.hex])
        ]
        if audited:
            connection.execute(_insert_audit(len(new)), [*audited, ahead])
        named = [
            (new[item.seal_id.hex], *entry) for item in items if item.entries and item.seal_id.hex in new
            for entry in item.entries
        ]  # fmt: skip
        if named:
            connection.executemany(f"INSERT INTO person_index ({INDEXED}) VALUES (?, ?, ?, ?)", named)  # noqa: S608 - as below
        return new


def _values(arrival: Arrival) -> tuple[Any, ...]:
    """The columns in the forms in which SQLAlchemy keeps them."""
    as_text: dict[str, Any] = {
        "seal_id": arrival.seal_id.hex,
        "occurred_at": driver_moment("sqlite", arrival.occurred_at),
    }
    return arrival._replace(**as_text)[: len(COLUMNS)]


@cache
def _insert_events(rows: int) -> str:
    return f"""
        WITH arrived ({KEPT}) AS (VALUES {_rows(rows, len(COLUMNS))})
        INSERT INTO events ({KEPT}, {SAME_FOR_ALL})
        SELECT {KEPT}, ?, ?, 'pending', {_NOW}, {_NOW} FROM arrived WHERE true
        ON CONFLICT DO NOTHING
        RETURNING seal_id, id"""  # noqa: S608 - made of names that stand in this file


@cache
def _insert_audit(rows: int) -> str:
    return f"""
        WITH new ({AUDITED}, inbox_id) AS (VALUES {_rows(rows, len(OF_AUDIT) + 3)})
        INSERT INTO audit_log ({AUDIT}) SELECT *, 'delivery', 'accepted', {_NOW} FROM new"""  # noqa: S608 - made of names that stand in this file


def _rows(rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * rows)
