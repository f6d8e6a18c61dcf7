"""Makes an authentic delivery durable, exactly once per event ID. When `receive()` returns, it is committed.

One transaction holds the event, its audit row and the wake-up call for the workers. Twins are told apart by
the unique index alone: whoever inserts first wins, and everyone else finds the row that won.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.database import writing
from app.inbox.audit import record, write_sums
from app.inbox.context import Inbox
from app.inbox.lifecycle import REVIVAL_INTERVAL, REVIVED_BY_REDELIVERY, State
from app.inbox.models import StoredEvent
from app.inbox.wakeup import notify
from app.privacy.card_data import drop_authentication_data
from app.privacy.masking import mask_payload
from app.privacy.sealing import body_digest, digest_matches, seal
from app.protocol.envelope import Event, parse_event
from app.protocol.errors import UnusablePayload

Errors = dict[str, list[str]]


@dataclass(frozen=True)
class Delivery:
    """One POST whose signature was right."""

    body: bytes
    request_id: str
    duration_ms: int = 0


@dataclass(frozen=True)
class Receipt:
    """What became of a delivery: accepted, duplicate or quarantined."""

    status: str
    event_id: str | None
    event_type: str | None = None
    errors: Errors | None = None


def receive(inbox: Inbox, event: Event, delivery: Delivery) -> Receipt:
    """Keep the event unless its ID is known already.

    Raises SQLAlchemyError when the database does not commit; then nothing is half-stored.
    """
    with inbox.tally.finished_sums(inbox.clock.now()) as sums, writing(inbox.engine) as session:
        inbox_id = insert_event(session, _accepted(inbox, event, delivery))
        if inbox_id is not None:
            status = "accepted"
            notify(session)
            _audit(session, inbox, delivery, status, event, inbox_id)
        else:
            status = "duplicate"
            _receive_again(session, inbox, event, delivery)
        write_sums(session, inbox, sums)
    return Receipt(status, event.id, event.type)


def quarantine_unusable(inbox: Inbox, error: UnusablePayload, delivery: Delivery) -> Receipt:
    """Keep an authentic body that is no event as far as we can tell, for a replay once it parses."""
    with writing(inbox.engine) as session:
        row = _stored(inbox, delivery, error.payload) | {"parsed": error.payload is not None}
        _quarantine(session, inbox, row, "unusable", delivery, detail=json.dumps(error.errors))
    return Receipt("quarantined", None, errors=error.errors)


def quarantine_stale(inbox: Inbox, event: Event | UnusablePayload, delivery: Delivery) -> Receipt:
    """Keep a body whose signature is right and whose timestamp is not, unless its event is here already."""
    if isinstance(event, UnusablePayload):
        return quarantine_unusable(inbox, event, delivery)
    with writing(inbox.engine) as session:
        known = session.scalar(sa.select(StoredEvent.id).where(StoredEvent.event_id == event.id))
        if known is None:
            _quarantine(session, inbox, _quarantined_event(inbox, event, delivery), "stale", delivery)
        else:
            _audit_repeated(session, inbox, delivery, "rejected: stale", event, known)
    return Receipt("quarantined" if known is None else "rejected", event.id, event.type)


def insert_event(session: Session, row: dict[str, Any]) -> int | None:
    """The new row's ID, or None when a unique index says that it is here already."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(StoredEvent).values(row).on_conflict_do_nothing().returning(StoredEvent.id)
    inserted: int | None = session.scalar(statement)
    return inserted


def envelope_columns(event: Event) -> dict[str, Any]:
    """What the events table keeps of an envelope beside its ID."""
    return {
        "event_type": event.type,
        "occurred_at": event.occurred_at,
        "transaction_id": event.transaction_id,
        "policy_id": event.policy_id,
        "claim_id": event.claim_id,
        "reported_status": event.status,
    }


def _receive_again(session: Session, inbox: Inbox, event: Event, delivery: Delivery) -> None:
    known = session.execute(
        sa.update(StoredEvent)
        .where(StoredEvent.event_id == event.id)
        .values(deliveries=StoredEvent.deliveries + 1)
        .returning(
            StoredEvent.id,
            StoredEvent.state,
            StoredEvent.body_digest,
            StoredEvent.revived_at,
            StoredEvent.seal_id,
        )
    ).one()
    if digest_matches(known.body_digest, delivery.body, inbox.settings.payload_keys) is False:
        session.execute(sa.update(StoredEvent).where(StoredEvent.id == known.id).values(id_reused=True))
        row = _quarantined_event(inbox, event, delivery)
        _quarantine(session, inbox, row, "id_reused", delivery)
        return
    _audit_repeated(session, inbox, delivery, "duplicate", event, known.id)
    recently = known.revived_at and inbox.clock.now() - known.revived_at < REVIVAL_INTERVAL
    if known.state in REVIVED_BY_REDELIVERY and not recently:
        _revive(session, inbox, event, delivery, known)


def _revive(session: Session, inbox: Inbox, event: Event, delivery: Delivery, known: Any) -> None:
    """Make a dead or unhandled event due again. The redelivered body serves where retention erased the first."""
    sealed = _sealed(inbox, delivery.body, event.payload, known.seal_id)
    session.execute(
        sa.update(StoredEvent)
        .where(StoredEvent.id == known.id)
        .values(
            state=State.PENDING,
            attempts=0,
            due_at=inbox.now(),
            finished_at=None,
            revived_at=inbox.now(),
            **sealed,
        )
    )
    notify(session)
    record(
        session,
        inbox,
        "replay",
        "due again",
        event_id=event.id,
        event_type=event.type,
        actor="redelivery",
        request_id=delivery.request_id,
        inbox_id=known.id,
    )


def _quarantine(
    session: Session,
    inbox: Inbox,
    row: dict[str, Any],
    reason: str,
    delivery: Delivery,
    detail: str | None = None,
) -> None:
    row |= {"state": State.QUARANTINED, "quarantine_reason": reason, "event_id": None, "due_at": None}
    inbox_id = insert_event(session, row)
    if inbox_id is None:
        inbox_id = session.scalar(
            sa.update(StoredEvent)
            .where(StoredEvent.event_id.is_(None), StoredEvent.body_digest == row["body_digest"])
            .values(deliveries=StoredEvent.deliveries + 1)
            .returning(StoredEvent.id)
        )
    event_id, event_type = row.get("claimed_event_id"), row.get("event_type")
    if inbox.tally.admits((f"quarantined: {reason}", event_id, event_type), inbox.clock.now()):
        record(
            session,
            inbox,
            "delivery",
            f"quarantined: {reason}",
            event_id=event_id,
            event_type=event_type,
            request_id=delivery.request_id,
            duration_ms=delivery.duration_ms,
            detail=detail,
            inbox_id=inbox_id,
        )


def _accepted(inbox: Inbox, event: Event, delivery: Delivery) -> dict[str, Any]:
    return {
        **_stored(inbox, delivery, event.payload),
        **envelope_columns(event),
        "event_id": event.id,
        "state": State.PENDING,
        "due_at": inbox.now(),
    }


def _quarantined_event(inbox: Inbox, event: Event, delivery: Delivery) -> dict[str, Any]:
    row = _accepted(inbox, event, delivery)
    return row | {"event_id": None, "claimed_event_id": event.id}


def _stored(inbox: Inbox, delivery: Delivery, payload: Mapping[str, Any] | None) -> dict[str, Any]:
    seal_id = uuid4()
    return {
        "seal_id": seal_id,
        "received_at": inbox.now(),
        "environment": inbox.settings.environment,
        "body_digest": body_digest(delivery.body, inbox.settings.payload_keys),
        "masked_payload": json.dumps(_masked(inbox, payload, delivery.body)),
        **_sealed(inbox, delivery.body, payload, seal_id),
    }


def _sealed(inbox: Inbox, body: bytes, payload: Mapping[str, Any] | None, seal_id: UUID) -> dict[str, Any]:
    """The sealed body, without card authentication data (PCI DSS 3.3.1)."""
    kept, dropped = drop_authentication_data(payload)
    plaintext = json.dumps(kept).encode() if dropped else body
    keys = inbox.settings.payload_keys
    return {"sealed_payload": seal(plaintext, row=seal_id, keys=keys), "sealing_key": keys[0].id}


def masked_body(inbox: Inbox, body: bytes) -> object:
    """What people may see of a stored body, by today's rules."""
    try:
        return _masked(inbox, parse_event(body, inbox.settings.payload_fields).payload, body)
    except UnusablePayload as error:
        return _masked(inbox, error.payload, body)


def _masked(inbox: Inbox, payload: Mapping[str, Any] | None, body: bytes) -> object:
    """The masked payload. A reference number may pass wherever the partner's mapping finds one."""
    if payload is None:
        return f"[unparsed body, {len(body)} bytes]"
    names = ("event_id", "transaction_id", "policy_id", "claim_id")
    return mask_payload(dict(payload), references=[inbox.settings.payload_fields[name] for name in names])


def _audit_repeated(
    session: Session, inbox: Inbox, delivery: Delivery, result: str, event: Event, inbox_id: int
) -> None:
    """What can be repeated without end must not fill the disk."""
    if inbox.tally.admits((result, event.id, event.type), inbox.clock.now()):
        _audit(session, inbox, delivery, result, event, inbox_id)


def _audit(session: Session, inbox: Inbox, delivery: Delivery, result: str, event: Event, inbox_id: int) -> None:
    record(
        session,
        inbox,
        "delivery",
        result,
        event_id=event.id,
        event_type=event.type,
        request_id=delivery.request_id,
        duration_ms=delivery.duration_ms,
        inbox_id=inbox_id,
    )
