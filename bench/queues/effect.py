"""What every job does, whoever runs it: the upsert that our handler of `payment.success` does, and how it is noted.

The statement is the one that `advance()` sends. Ours sends it from there, and asks for a follow-up in one of ten; the
others send it prepared, on a connection of the driver that they keep open, and commit each job.

Two columns that only this bench adds to `payments` note every effect, for all alike: when it was, by the database's
clock, and a number from a sequence, which counts those that are repeated too, though they change nothing.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect

from app.models import Payment
from receiver.tracked import upsert

NOTES = (
    "CREATE SEQUENCE bench_effects",
    "ALTER TABLE payments ADD COLUMN bench_at timestamptz DEFAULT clock_timestamp()",
    "ALTER TABLE payments ADD COLUMN bench_number bigint DEFAULT nextval('bench_effects')",
)
EFFECTS_SO_FAR = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM bench_effects"
ROWS = "SELECT count(*) FROM payments"
SECONDS = "SELECT extract(epoch FROM max(bench_at) - min(bench_at)) FROM payments"

Values = tuple[Any, ...]
COLUMNS = ("status", "paid_at", "amount", "currency", "method")
"""What our handler of `payment.success` writes."""


def values_of(payload: Mapping[str, Any]) -> Values:
    """What the statement is given for this event."""
    latest = datetime.now(UTC) + timedelta(days=1)
    occurred_at = min(datetime.fromisoformat(payload["timestamp"]), latest)
    data = payload["data"]
    values = {
        "reference": payload["transaction_id"], "rank": 2, "occurred_at": occurred_at, "event_id": payload["event_id"],
        "status": "paid", "paid_at": occurred_at, "amount": Decimal(data["amount"]), "currency": data["currency"],
        "method": data.get("payment_method"),
    }  # fmt: skip
    return tuple(values[name] for name in _ORDER)


def number(connection: psycopg.Connection[Any], query: LiteralString) -> float:
    """The one number that the query asks for, or 0."""
    row = connection.execute(query).fetchone()
    return float(row[0] or 0) if row else 0.0


_UPSERT = upsert(Payment, "postgresql", COLUMNS)
_NAMED = str(_UPSERT.compile(dialect=psycopg_dialect.dialect()))
_ORDER = re.findall(r"%\((\w+)\)s", _NAMED)
FOR_PSYCOPG = re.sub(r"%\(\w+\)s", "%s", _NAMED)
FOR_ASYNCPG = str(_UPSERT.compile(dialect=asyncpg_dialect.dialect()))
