"""What is kept for how long, in every state: sealed payloads first, masked ones later, the audit log last.

The event ID outlives its payload as a tombstone, so that a late duplicate is still a duplicate. Work is done in
bounded batches, each its own transaction; once an hour, by whichever worker takes the lock.
"""

from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.database import writing
from app.inbox.audit import record
from app.inbox.context import Inbox
from app.inbox.lifecycle import State
from app.inbox.models import AuditEntry, CapturedDelivery, Heartbeat, HourlySum, StoredEvent
from app.inbox.rewrite import mask_missing

BATCH = 500
UNPARSED_DAYS = 7  # PCI DSS 3.3.1: what can't be parsed can't be freed of card authentication data
DAY = 86400.0
PURGE_LOCK = 0x5E4A46
PURGE_INTERVAL_SECONDS = 3600


@dataclass
class Purged:
    """How many rows each rule touched."""

    sealed: int = 0
    masked: int = 0
    audit: int = 0
    captures: int = 0


def purge(inbox: Inbox, *, actor: str) -> Purged:
    """Erase what retention no longer allows."""
    settings = inbox.settings
    sealed = StoredEvent.sealed_payload.is_not(None)
    unparsed = sealed & StoredEvent.parsed.is_(False)
    mask_missing(inbox, sealed & _older(inbox, settings.payload_retention_days))
    done = Purged(
        sealed=_erase(inbox, sealed, settings.payload_retention_days, _WITHOUT_SEALED)
        + _erase(inbox, unparsed, UNPARSED_DAYS, _WITHOUT_SEALED),
        masked=_erase(inbox, StoredEvent.masked_payload.is_not(None), settings.masked_retention_days, _WITHOUT_MASKED),
        audit=_delete_audit(inbox, settings.audit_retention_days),
    )
    with writing(inbox.engine) as session:
        session.execute(sa.delete(Heartbeat).where(Heartbeat.seen_at < inbox.now(plus=-DAY)))
        session.execute(sa.delete(HourlySum).where(HourlySum.hour < inbox.now(plus=-400 * DAY)))
        old = sa.delete(CapturedDelivery).where(CapturedDelivery.captured_at < inbox.now(plus=-DAY))
        done.captures = len(session.scalars(old.returning(CapturedDelivery.id)).all())
        if any(asdict(done).values()):
            detail = ", ".join(f"{name} {count}" for name, count in asdict(done).items())
            record(session, inbox, "purge", "purged", actor=actor, detail=detail)
    return done


def purge_if_due(inbox: Inbox, *, actor: str) -> Purged | None:
    """`purge()`, unless another worker holds the lock or did it within the hour."""
    with writing(inbox.engine) as session:
        if not _take_hourly_turn(session, inbox, actor):
            return None
    return purge(inbox, actor=actor)


_WITHOUT_SEALED: dict[str, Any] = {"sealed_payload": None, "sealing_key": None}
_WITHOUT_MASKED: dict[str, Any] = {"masked_payload": None}


def _erase(inbox: Inbox, which: sa.ColumnElement[bool], days: int, values: dict[str, Any]) -> int:
    """Pending events are kept whole, however old: they still have work to do."""
    old = which & _older(inbox, days)
    total = 0
    while True:
        with writing(inbox.engine) as session:
            ids = session.scalars(
                sa.select(StoredEvent.id).where(old).order_by(StoredEvent.received_at, StoredEvent.id).limit(BATCH)
            ).all()
            if ids:
                session.execute(sa.update(StoredEvent).where(StoredEvent.id.in_(ids)).values(values))
        total += len(ids)
        if len(ids) < BATCH:
            return total


def _older(inbox: Inbox, days: int) -> sa.ColumnElement[bool]:
    return (StoredEvent.received_at < inbox.now(plus=-days * DAY)) & (StoredEvent.state != State.PENDING)


def _delete_audit(inbox: Inbox, days: int) -> int:
    total = 0
    while True:
        with writing(inbox.engine) as session:
            ids = session.scalars(
                sa.select(AuditEntry.id)
                .where(AuditEntry.at < inbox.now(plus=-days * DAY))
                .order_by(AuditEntry.at, AuditEntry.id)
                .limit(BATCH)
            ).all()
            if ids:
                session.execute(sa.delete(AuditEntry).where(AuditEntry.id.in_(ids)))
        total += len(ids)
        if len(ids) < BATCH:
            return total


def _take_hourly_turn(session: Session, inbox: Inbox, actor: str) -> bool:
    """The turn is a heartbeat row named "purge"; the advisory lock keeps two takers apart."""
    try_lock = sa.select(sa.func.pg_try_advisory_xact_lock(PURGE_LOCK))
    if session.get_bind().dialect.name == "postgresql" and not session.scalar(try_lock):
        return False
    turn = session.get(Heartbeat, "purge")
    last = turn.seen_at if turn else None
    if last is not None and (inbox.clock.now() - last).total_seconds() < PURGE_INTERVAL_SECONDS:
        return False
    if turn is None:
        session.execute(sa.insert(Heartbeat).values(worker="purge", started_at=inbox.now(), seen_at=inbox.now()))
    else:
        session.execute(sa.update(Heartbeat).where(Heartbeat.worker == "purge").values(seen_at=inbox.now()))
    return True
