"""Fills a database with made-up events and their audit rows, in bulk SQL. Every row is a function of its number.

Most events are processed; one type never had a handler, one policy has a twentieth of all events, and three events at a
time were received in the same microsecond. Another shape: another expression in `_events()`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from receiver.database.columns import ReceiverBase
from receiver.database.engine import make_engine
from receiver.database.url import normalise_url

TABLES = ("events", "audit_log")
DAYS = 60
MASKED = '{"event_id": "[text, 20 characters]", "customer": {"name": "[text, 24 characters]"}, "amount": "120.50"}'
UNHANDLED = "n % 97 = 5"
QUARANTINED = f"(NOT {UNHANDLED} AND n % 100 = 2)"
FAILING = f"NOT {UNHANDLED} AND n % 400 = 3"  # of those that are pending

FAILED = f"(NOT {UNHANDLED} AND (n % 100 IN (1, 2) OR n % 400 = 3))"


@dataclass(frozen=True)
class Words:
    """What the two databases say differently."""

    numbers: str
    digest: str
    uuid: str
    blob: str
    moment: str
    true: str
    false: str

    def at(self, number: str) -> str:
        """When a number's event came: evenly spread over the days before now."""
        return self.moment.replace("?", f"({number})")


def fill(engine: Engine, size: int, *, analyse: bool = True) -> None:
    """Put `size` events and twice as many audit rows into an empty, migrated database."""
    indexes = [index for name in TABLES for index in ReceiverBase.metadata.tables[name].indexes]
    with engine.begin() as connection:
        for index in indexes:
            index.drop(connection)
        words = _postgresql(size) if connection.dialect.name == "postgresql" else _sqlite(size)
        _insert(connection, "events", _events(words), f"{words.numbers} ORDER BY n")
        twice = f"{words.numbers}, (SELECT 0 AS k UNION ALL SELECT 1) AS twice ORDER BY n, k"
        _insert(connection, "audit_log", _audit_rows(words), twice)
        if connection.dialect.name == "postgresql":  # SQLite goes on from the highest by itself
            connection.exec_driver_sql("SELECT setval(pg_get_serial_sequence('events', 'id'), max(id)) FROM events")
        for index in indexes:
            index.create(connection)
    if analyse:
        _analyse(engine)


def _analyse(engine: Engine) -> None:
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    else:
        with engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")


def fill_engine(url: str) -> Engine:
    """An engine that is in a hurry: no time limits, and nothing has to survive a power loss."""
    engine = make_engine(normalise_url(url))

    @sa.event.listens_for(engine, "connect")
    def hurry(connection: Any, _record: Any) -> None:
        if engine.dialect.name == "sqlite":
            connection.execute("PRAGMA synchronous=OFF")
        else:
            connection.execute("SET maintenance_work_mem = '1GB'")
            connection.execute("SET synchronous_commit = off")
            connection.execute("SET statement_timeout = 0")
            connection.commit()

    return engine


def _insert(connection: Connection, table: str, columns: dict[str, str], source: str) -> None:
    connection.execution_options(no_parameters=True).exec_driver_sql(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM {source}"  # noqa: S608
    )


def _events(words: Words) -> dict[str, str]:
    event_id = f"'evt_' || {words.digest}"
    return {
        "id": "n",
        "seal_id": words.uuid,
        "event_id": f"CASE WHEN {QUARANTINED} THEN NULL ELSE {event_id} END",
        "stated_event_id": f"CASE WHEN {QUARANTINED} THEN {event_id} END",
        "event_type": _type(),
        "occurred_at": words.at("n - 40 * (n % 50 / 49)"),
        "received_at": words.at("n - n % 3"),
        "transaction_id": "'TXN-' || (100000 + n / 2)",
        "policy_id": "'POL-' || CASE WHEN n % 20 = 7 THEN 7 ELSE 100000 + n / 3 END",
        "claim_id": "CASE WHEN n % 8 IN (5, 6) THEN 'CLM-' || (100000 + n / 8) END",
        "reported_status": "'paid'",
        "environment": "'sandbox'",
        "state": f"CASE WHEN {UNHANDLED} THEN 'unhandled' WHEN n % 100 = 1 THEN 'dead' WHEN {QUARANTINED}"
        " THEN 'quarantined' WHEN n % 200 = 3 THEN 'pending' ELSE 'processed' END",
        "quarantine_reason": f"CASE WHEN {QUARANTINED} THEN 'stale' END",
        "attempts": "CASE WHEN n % 100 = 1 THEN 10 WHEN n % 17 = 0 THEN 2 ELSE 1 END",
        "caused_by": "CASE WHEN n % 23 = 0 THEN n - 1 END",
        "due_at": f"CASE WHEN NOT {QUARANTINED} THEN {words.at('n')} END",
        "last_error": f"CASE WHEN {FAILING} THEN 'ConnectionError: the bank is down' END",
        "cause": f"CASE WHEN {FAILED} THEN '00000000000' || n % 7 END",
        "cause_since": f"CASE WHEN {FAILED} THEN {words.at('n')} END",
        "failing_since": f"CASE WHEN {FAILING} THEN {words.at('n')} END",
        "id_reused": words.false,
        "body_digest": f"'k1:' || {words.digest}",
        "sealed_payload": words.blob,
        "sealing_key": "'k1'",
        "parsed": words.true,
        "masked_payload": f"'{MASKED}'",
    }


def _audit_rows(words: Words) -> dict[str, str]:
    return {
        "at": words.at("n"),
        "action": "CASE k WHEN 0 THEN 'delivery' ELSE 'attempt' END",
        "event_id": f"'evt_' || {words.digest}",
        "event_type": _type(),
        "result": "CASE WHEN k = 1 THEN CASE WHEN n % 50 = 1 THEN 'failed' ELSE 'processed' END"
        " WHEN n % 40 = 9 THEN 'duplicate' WHEN n % 100 = 2 THEN 'quarantined: stale' ELSE 'accepted' END",
        "request_id": words.digest,
        "duration_ms": "n % 30 + n % 7 * (n % 11)",
        "inbox_id": "n",
    }


def _type() -> str:
    return (
        f"CASE WHEN {UNHANDLED} THEN 'account.closed' ELSE CASE n % 8 WHEN 0 THEN 'payment.success'"
        " WHEN 1 THEN 'payment.failed' WHEN 2 THEN 'policy.issued' WHEN 3 THEN 'policy.cancelled'"
        " WHEN 4 THEN 'refund.processed' WHEN 5 THEN 'claim.submitted' WHEN 6 THEN 'claim.updated'"
        " ELSE 'account.updated' END END"
    )


def _sqlite(size: int) -> Words:
    start, step = _pace(size)
    return Words(
        numbers=f"(WITH RECURSIVE up(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM up LIMIT {size})"  # noqa: S608
        " SELECT n FROM up) AS numbers",
        digest="printf('%08x%08x', n * 2654435761 % 4294967296, n)",
        uuid="printf('%032x', n)",
        blob="zeroblob(300)",
        moment=f"strftime('%Y-%m-%d %H:%M:%f', {start.timestamp()} + {step:.6f} * ?, 'unixepoch') || '000'",
        true="1",
        false="0",
    )


def _postgresql(size: int) -> Words:
    start, step = _pace(size)
    return Words(
        numbers=f"(SELECT generate_series(1, {size}::bigint) AS n) AS numbers",
        digest="lpad(to_hex(n * 2654435761 % 4294967296), 8, '0') || lpad(to_hex(n), 8, '0')",
        uuid="lpad(to_hex(n), 32, '0')::uuid",
        blob="decode(repeat('5a', 300), 'hex')",
        moment=f"timestamptz '{start.isoformat()}' + interval '{step:.6f} seconds' * ?",
        true="true",
        false="false",
    )


def _pace(size: int) -> tuple[datetime, float]:
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS)
    return start, DAYS * 86_400 / size
