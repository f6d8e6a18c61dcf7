"""The partner's tables, and the one rule for changing them: `advance()`.

Events arrive in any order and more than once (§6.2, §7.1). So a row remembers the event that it stands for, and a
newer one wins whatever comes first: later `occurred_at`, then the higher rank of the status, then the event ID.
"""

from datetime import datetime, timedelta
from functools import cache

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.database import PLACEHOLDER, Base, UtcDateTime, driver_moment, execute_text
from app.protocol.envelope import Event
from app.registry import PermanentFailure, describes

FUTURE_ALLOWED = timedelta(days=1)
COLUMNS = ("reference", "status", "rank", "occurred_at", "event_id")


class _Tracked:
    """A state that events set, and the event that set it."""

    reference: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    status: Mapped[str] = mapped_column(sa.String(50))
    rank: Mapped[int] = mapped_column()
    occurred_at: Mapped[datetime] = mapped_column(UtcDateTime)
    event_id: Mapped[str] = mapped_column(sa.String(200))


class Payment(_Tracked, Base):
    """A payment, by its transaction ID."""

    __tablename__ = "payments"


class Policy(_Tracked, Base):
    """A cover, by its policy ID."""

    __tablename__ = "policies"


class Refund(_Tracked, Base):
    """A refund, by the transaction it returns."""

    __tablename__ = "refunds"


class InsuranceClaim(_Tracked, Base):
    """A claim on a policy, by its claim ID."""

    __tablename__ = "insurance_claims"


class Account(_Tracked, Base):
    """The state of our account with Senang.io, by topic."""

    __tablename__ = "accounts"


def advance(
    session: Session, model: type[Base], reference: str | None, *, status: str, event: Event, rank: int = 0
) -> None:
    """Set the state that this event reports, unless a newer event has set one already.

    `rank` decides between events of the same moment: give terminal states a higher one. Raises PermanentFailure
    when the event lacks the reference.
    """
    if reference is None:
        raise PermanentFailure(f"{event.type} without the reference that its handler needs")
    connection = session.connection()
    dialect = connection.dialect.name
    moment = driver_moment(dialect, counted_at(event))
    statement = upsert(model.__tablename__, (PLACEHOLDER[dialect],) * len(COLUMNS))
    execute_text(connection, statement, (reference, status, rank, moment, event.id))


@cache
def upsert(table: str, placeholders: tuple[str, ...]) -> str:
    """Insert the row, or change it if what is inserted is newer. The driver gets it as it stands here.

    Every event runs it, and an expression of SQLAlchemy would take the worker half as long again.
    """
    return f"""
        INSERT INTO {table} ({", ".join(COLUMNS)}) VALUES ({", ".join(placeholders)})
        ON CONFLICT (reference) DO UPDATE SET
            status = excluded.status, rank = excluded.rank,
            occurred_at = excluded.occurred_at, event_id = excluded.event_id
        WHERE (excluded.occurred_at, excluded.rank, excluded.event_id)
            > ({table}.occurred_at, {table}.rank, {table}.event_id)"""  # noqa: S608 - made of names that stand in this file


def counted_at(event: Event) -> datetime:
    """The moment by which events are compared. It depends on the event alone, so any order ends in the same state.

    An event dated in the future can't have occurred yet when it was received: it counts as of the beginning of that
    day. So it never freezes a row, whatever is dated later wins. Of several received on one day the later date wins:
    each is as many microseconds into the day as it is hours ahead.
    """
    received_at = event.received_at
    if received_at is None or event.occurred_at - received_at <= FUTURE_ALLOWED:
        return event.occurred_at
    day = received_at.replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(microseconds=(event.occurred_at - day) // timedelta(hours=1))


@describes("policy", "Policy")
def describe_policy(session: Session, reference: str) -> dict[str, object] | None:
    """The cover, for the page of its policy."""
    return _state(session.get(Policy, reference))


@describes("transaction", "Payment")
def describe_payment(session: Session, reference: str) -> dict[str, object] | None:
    """The payment, for the page of its transaction."""
    return _state(session.get(Payment, reference))


@describes("transaction", "Refund")
def describe_refund(session: Session, reference: str) -> dict[str, object] | None:
    """The refund, for the page of the transaction that it returns."""
    return _state(session.get(Refund, reference))


@describes("claim", "Claim")
def describe_claim(session: Session, reference: str) -> dict[str, object] | None:
    """The claim, for its page."""
    return _state(session.get(InsuranceClaim, reference))


def _state(row: _Tracked | None) -> dict[str, object] | None:
    return None if row is None else {"status": row.status, "since": row.occurred_at, "by event": row.event_id}
