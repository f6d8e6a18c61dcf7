"""Makes an authentic delivery durable, exactly once per event ID. What is returned is committed.

Whoever inserts first wins, by the unique index alone. `accept()` stores what is new, many deliveries to a transaction
(group_commit.py); whatever else an authentic delivery may be is rarer, and has a transaction to itself.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.engine import writing
from receiver.database.insert import insert_into
from receiver.ingest.arrivals import Arrival
from receiver.privacy.card_data import cut_authentication_data, drop_authentication_data
from receiver.privacy.sealing import body_digest, seal
from receiver.protocol.envelope import Event
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.json_body import parse_object, to_json
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import REVIVAL_INTERVAL, REVIVED_BY_REDELIVERY, State
from receiver.store.masked import masked_text
from receiver.store.models import StoredEvent
from receiver.store.same_body import KEPT, NOBODY_CAN_TELL, says_the_same
from receiver.store.tally import Key
from receiver.store.transitions import make_due

Errors = dict[str, list[str]]
MOST_COMPARED, LARGEST_COMPARED = 5, 64 * 1024
"""So many quarantined bodies of one event ID are compared with another one, the newest."""


class Delivery(NamedTuple):
    """One POST whose signature was right. It does not show its body."""

    body: bytes
    request_id: str
    duration_ms: int = 0

    def __repr__(self) -> str:
        """Without the body, which is clear text."""
        return f"Delivery({len(self.body)} bytes, {self.request_id})"


class Receipt(NamedTuple):
    """What became of a delivery: accepted, duplicate or quarantined."""

    status: str
    event_id: str | None
    event_type: str | None = None
    errors: Errors | None = None


def accept(inbox: Inbox, event: Event, delivery: Delivery, *, ends_at: float | None = None) -> Receipt | None:
    """Keep an event that is new. None when its ID is known already.

    Raises NotStored, at `ends_at` of the monotonic clock at the latest.
    """
    is_new = inbox.committer.submit(_arrival(inbox, event, delivery), size=len(delivery.body), ends_at=ends_at)
    return Receipt("accepted", event.id, event.type) if is_new else None


def receive_again(inbox: Inbox, event: Event, delivery: Delivery) -> Receipt:
    """Count another delivery of an event that is known. Raises SQLAlchemyError when that does not commit."""
    with writing(inbox.engine) as session:
        _receive_again(session, inbox, event, delivery)
    return Receipt("duplicate", event.id, event.type)


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
            _quarantine_event(session, inbox, event, "stale", delivery)
        else:
            _audit_repeated(session, inbox, delivery, "rejected: stale", event, known)
    return Receipt("quarantined" if known is None else "rejected", event.id, event.type)


def insert_event(session: Session, row: dict[str, Any]) -> int | None:
    """The new row's ID, or None when a unique index says that it is here already."""
    insert = insert_into(StoredEvent, session.get_bind().dialect.name).values(row)
    inserted: int | None = session.scalar(insert.on_conflict_do_nothing().returning(StoredEvent.id))
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


def _noted(event: Event) -> str | None:
    """What the audit row of the delivery says of optional fields that were odd."""
    if not event.odd:
        return None
    return "odd, and taken as absent or as text: " + ", ".join(
        f"{name} {why}" for name, why in sorted(event.odd.items())
    )


def _receive_again(session: Session, inbox: Inbox, event: Event, delivery: Delivery) -> None:
    known = session.execute(
        sa.update(StoredEvent)
        .where(StoredEvent.event_id == event.id)
        .values(deliveries=StoredEvent.deliveries + 1)
        .returning(*KEPT, StoredEvent.state, StoredEvent.revived_at)
    ).one()
    same = says_the_same(session, inbox.settings, known, delivery.body)
    if not same:
        session.execute(sa.update(StoredEvent).where(StoredEvent.id == known.id).values(id_reused=True))
        detail = NOBODY_CAN_TELL if same is None else None
        _quarantine_event(session, inbox, event, "id_reused", delivery, detail)
        return
    _audit_repeated(session, inbox, delivery, "duplicate", event, known.id)
    recently = known.revived_at and inbox.clock.now() - known.revived_at < REVIVAL_INTERVAL
    if known.state in REVIVED_BY_REDELIVERY and not recently:
        _revive(session, inbox, event, delivery, known)


def _revive(session: Session, inbox: Inbox, event: Event, delivery: Delivery, known: Any) -> None:
    """Make a dead or unhandled event due again. The redelivered body serves where retention erased the first."""
    make_due(
        session,
        inbox,
        known.id,
        revived_at=inbox.now(),
        sealed_payload=_sealed(inbox, delivery.body, event.payload, known.seal_id),
        sealing_key=inbox.settings.payload_keys[0].id,
    )
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


def _quarantine_event(
    session: Session, inbox: Inbox, event: Event, reason: str, delivery: Delivery, detail: str | None = None
) -> None:
    """Keep another body of an event ID, or one that came too late. A retry of it is counted, with no row of its own."""
    others = sa.select(*KEPT).where(StoredEvent.event_id.is_(None), StoredEvent.stated_event_id == event.id)
    most = MOST_COMPARED if len(delivery.body) <= LARGEST_COMPARED else 0  # a lock is held meanwhile
    newest = session.execute(others.order_by(StoredEvent.id.desc()).limit(most)).all()
    same = (other.id for other in newest if says_the_same(session, inbox.settings, other, delivery.body))
    row = _stored(inbox, delivery, event.payload) | envelope_columns(event) | {"stated_event_id": event.id}
    _quarantine(session, inbox, row, reason, delivery, detail, known=next(same, None))


def _quarantine(
    session: Session,
    inbox: Inbox,
    row: dict[str, Any],
    reason: str,
    delivery: Delivery,
    detail: str | None = None,
    known: int | None = None,
) -> None:
    """Keep the row, or count another delivery of the one that is `known` or has the same bytes."""
    row |= {"state": State.QUARANTINED, "quarantine_reason": reason, "event_id": None, "due_at": None}
    inbox_id = None if known else insert_event(session, row)
    if inbox_id is None:
        same_bytes = StoredEvent.event_id.is_(None) & (StoredEvent.body_digest == row["body_digest"])
        inbox_id = session.scalar(
            sa.update(StoredEvent)
            .where(StoredEvent.id == known if known else same_bytes)
            .values(deliveries=StoredEvent.deliveries + 1)
            .returning(StoredEvent.id)
        )
    event_id, event_type = row.get("stated_event_id"), row.get("event_type")
    if inbox.tally.admits(Key(f"quarantined: {reason}", event_id, event_type), inbox.clock.now()):
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


def _arrival(inbox: Inbox, event: Event, delivery: Delivery) -> Arrival:
    seal_id = uuid4()
    return Arrival(
        seal_id,
        body_digest(delivery.body, inbox.settings.payload_keys),
        _sealed(inbox, delivery.body, event.payload, seal_id),
        event.id,
        event.type,
        event.occurred_at,
        event.transaction_id,
        event.policy_id,
        event.claim_id,
        event.status,
        delivery.request_id,
        delivery.duration_ms,
        _noted(event),
    )


def _stored(inbox: Inbox, delivery: Delivery, payload: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is kept of a body that no handler will open soon, so it is masked at once."""
    seal_id, settings = uuid4(), inbox.settings
    return {
        "seal_id": seal_id,
        "body_digest": body_digest(delivery.body, settings.payload_keys),
        "sealed_payload": _sealed(inbox, delivery.body, payload, seal_id),
        "sealing_key": settings.payload_keys[0].id,
        "masked_payload": masked_text(settings, payload, delivery.body),
        "received_at": inbox.now(),
        "environment": settings.environment,
    }


def _sealed(inbox: Inbox, body: bytes, payload: Mapping[str, Any] | None, seal_id: UUID) -> bytes:
    """The sealed body, without card authentication data (PCI DSS 3.3.1). Its numbers stay as they were written."""
    if payload is None:  # nobody can parse it, and cutting must not make an event of it
        body = cut_authentication_data(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    elif drop_authentication_data(payload)[1]:
        body = to_json(drop_authentication_data(parse_object(body, literal_numbers=True))[0]).encode()
    return seal(body, row=seal_id, keys=inbox.settings.payload_keys)


def _audit_repeated(
    session: Session, inbox: Inbox, delivery: Delivery, result: str, event: Event, inbox_id: int
) -> None:
    """What can be repeated without end must not fill the disk."""
    if inbox.tally.admits(Key(result, event.id, event.type), inbox.clock.now()):
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
