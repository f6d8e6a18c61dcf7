"""Stores new events on PostgreSQL: a group is one prepared statement, which is a transaction by itself.

A group is filled up with empty rows to the next of `SHAPES`, so that a handful of statements serve every size. What is
sent is text and bytes, by libpq itself: nothing about a row has to be found out again each time. The entries of the
index of people travel as one JSON array, and only where there are any: a group without them has a statement without it.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from operator import attrgetter
from typing import Any, NamedTuple

import psycopg
from psycopg import generators, pq
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from receiver.clock import Clock
from receiver.database.causes import cause_of
from receiver.database.engine import SETTINGS_OF_THIS_TRANSACTION, own_connection
from receiver.database.pipeline import raise_first_error, together
from receiver.ingest.arrivals import ARRIVED, AUDIT, AUDITED, FIELDS, INDEXED, KEPT, SAME_FOR_ALL, Arrival
from receiver.ingest.room import NotStored, Refused, Unavailable
from receiver.store.wakeup import CHANNEL

SHAPES = (1, 2, 4, 8, 16, 32, 64)
OUT_OF_SERVICE = ("08", "25", "53", "57", "58", "XX")
"""Errors of the server's own (PostgreSQL, appendix A): connection, read-only, full, shutting down, broken."""

LOST = ("08", "57P", "25006")
"""Errors after which a fresh connection may lead to a server that is well: 25006 is one that became a standby."""


class _Shape(NamedTuple):
    """What tells one statement from another."""

    rows: int
    has_entries: bool


class PostgresqlArrivals:
    """Writes on a connection of its own."""

    def __init__(self, engine: Engine, clock: Clock, environment: str, sealing_key: str) -> None:
        self._engine, self._clock = engine, clock
        self._constant = [environment.encode(), sealing_key.encode()]
        self._connection: psycopg.Connection[Any] | None = None
        self._prepared: set[_Shape] = set()

    def store(self, items: Sequence[Arrival]) -> list[bool]:
        """Insert what is new, in the order of event IDs, so that two committers can't wait for each other."""
        rows = next(rows for rows in SHAPES if rows >= len(items))
        entries = _entries(items)
        shape = _Shape(rows, entries is not None)
        parameters: list[bytes | None] = [*self._constant, str(self._clock.offset.total_seconds()).encode()]
        for item in sorted(items, key=attrgetter("event_id")):
            parameters += _parameters(item)
        parameters += [None] * (len(FIELDS) * (rows - len(items)))
        if entries is not None:
            parameters.append(entries)
        try:
            new = self._insert(items, shape, parameters)
        except Exception as error:
            raise self._judged(error) from error
        return [item.seal_id.bytes in new for item in items]

    def announce(self) -> None:
        """A transaction of its own: within the group's, all committers would wait for each other's COMMIT."""
        if self._connection is not None:
            self._connection.execute(f"NOTIFY {CHANNEL}")

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None
        self._prepared.clear()

    def _insert(self, items: Sequence[Arrival], shape: "_Shape", parameters: list[bytes | None]) -> set[bytes]:
        """The seal IDs of what is new. Once more on a fresh connection where this one was lost, say while it was idle.

        The first try may have committed and lost its answer. Then the rows have our own seal IDs: they are new.
        """
        try:
            return _seal_ids(self._execute(shape, parameters))
        except psycopg.Error as error:
            if not self._is_lost(error):
                raise
        self.close()
        new = _seal_ids(self._execute(shape, parameters))
        return new if len(new) == len(items) else new | self._kept(items)

    def _is_lost(self, error: psycopg.Error) -> bool:
        """Whether the error is the connection's, which was there before."""
        return self._connection is not None and (self._connection.closed or (error.sqlstate or "").startswith(LOST))

    def _kept(self, items: Sequence[Arrival]) -> set[bytes]:
        """The seal IDs under which these events are stored, by this process or another."""
        ids = [item.event_id for item in items]
        found = self._connected().execute("SELECT seal_id FROM events WHERE event_id = ANY(%s)", [ids])
        return {seal_id.bytes for (seal_id,) in found.fetchall()}

    def _execute(self, shape: "_Shape", parameters: list[bytes | None]) -> pq.abc.PGresult:
        connection = self._connected()
        name = b"arrivals_%d_%d" % shape
        if shape not in self._prepared:
            connection.pgconn.send_prepare(name, _statement(shape))
            _result(connection)
            self._prepared.add(shape)
        connection.pgconn.send_query_prepared(name, parameters, _formats(shape), pq.Format.BINARY)
        return _result(connection)

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            connection: psycopg.Connection[Any] = own_connection(self._engine)
            connection.autocommit = True
            self._connection = connection
        return self._connection

    def _judged(self, error: Exception) -> NotStored:
        state = getattr(error, "sqlstate", None) or "08"
        if isinstance(error, psycopg.Error | SQLAlchemyError) and state.startswith(OUT_OF_SERVICE):
            self.close()
            return Unavailable(cause_of(error))
        return Refused(cause_of(error))


class PooledArrivals(PostgresqlArrivals):
    """The same behind a pooler, where a statement can have no name and a session no settings: both go along."""

    def _execute(self, shape: "_Shape", parameters: list[bytes | None]) -> pq.abc.PGresult:
        connection = self._connected()
        libpq = connection.pgconn
        answers = together(
            connection,
            partial(libpq.send_query_params, SETTINGS_OF_THIS_TRANSACTION.encode(), None),
            partial(libpq.send_query_params, _statement(shape), parameters, None, _formats(shape), pq.Format.BINARY),
        )
        raise_first_error(answers)
        return answers[1]


def _result(connection: psycopg.Connection[Any]) -> pq.abc.PGresult:
    """The answer to what was sent last. Raises psycopg.Error."""
    results: list[pq.abc.PGresult] = connection.wait(generators.execute(connection.pgconn))
    raise_first_error(results)
    return results[-1]


def _seal_ids(result: pq.abc.PGresult) -> set[bytes]:
    return {result.get_value(row, 0) or b"" for row in range(result.ntuples)}


def _entries(items: Sequence[Arrival]) -> bytes | None:
    """What the index of people keeps of the group. None where that is nothing."""
    found = [
        {"seal_id": item.seal_id.hex, "digest": entry.digest.hex(), "kind": entry.kind, "key_id": entry.key_id}
        for item in items
        for entry in item.entries
    ]
    return json.dumps(found).encode() if found else None


def _parameters(arrival: Arrival) -> list[bytes | None]:
    """What libpq sends: bytes as they are, everything else as text."""
    return [None if value is None else encode(value) for encode, value in zip(_ENCODERS, arrival, strict=False)]


_ENCODE: dict[str, Callable[[Any], bytes]] = {
    "uuid": attrgetter("bytes"),
    "bytea": lambda value: value,
    "text": str.encode,
    "timestamptz": lambda value: value.isoformat().encode(),
    "integer": lambda value: b"%d" % value,
}
_ENCODERS = [_ENCODE[kind] for kind in FIELDS.values()]


@cache
def _formats(shape: _Shape) -> Sequence[int]:
    binary = ("uuid", "bytea")
    row = [pq.Format.BINARY if kind in binary else pq.Format.TEXT for kind in FIELDS.values()]
    return [pq.Format.TEXT] * 3 + row * shape.rows + [pq.Format.TEXT] * shape.has_entries


@cache
def _statement(shape: _Shape) -> bytes:
    """The events that are new, their audit rows and their entries in the index of people, in one statement."""
    numbers = iter(range(4, 5 + shape.rows * len(FIELDS)))
    rows = ", ".join(
        f"({', '.join(f'${next(numbers)}::{kind}' for kind in FIELDS.values())})" for _ in range(shape.rows)
    )
    indexed = f"""
        indexed AS (
            INSERT INTO person_index ({INDEXED})
            SELECT new.id, decode(digest, 'hex'), kind, key_id
            FROM new JOIN json_to_recordset(${next(numbers)}::json)
                AS entry (seal_id uuid, digest text, kind text, key_id text) USING (seal_id)
        ),"""  # noqa: S608 - as below
    return f"""
        WITH arrived ({ARRIVED}) AS (VALUES {rows}),
        moment (now) AS (SELECT clock_timestamp() + $3::float * interval '1 second'),
        new AS (
            INSERT INTO events ({KEPT}, {SAME_FOR_ALL})
            SELECT {KEPT}, $1::text, $2::text, 'pending', now, now FROM arrived, moment WHERE event_id IS NOT NULL
            ON CONFLICT DO NOTHING
            RETURNING id, seal_id
        ),{indexed if shape.has_entries else ""}
        audited AS (
            INSERT INTO audit_log ({AUDIT})
            SELECT {AUDITED}, new.id, 'delivery', 'accepted', now
            FROM new JOIN arrived USING (seal_id), moment
        )
        SELECT seal_id FROM new""".encode()  # noqa: S608 - made of names that stand in this file
