"""The rows that a delivery leaves, each with its row in the audit log.

A new event is an `Arrival`, and is written together with others (group_commit.py). So is another delivery of a known
one that is only counted (redeliveries.py). Other authentic deliveries are rarer. Each has a transaction of its own: a
method of `Rows`. The first insert wins; only the unique index decides.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.config import Settings
from receiver.database.engine import writing
from receiver.database.insert import insert_into
from receiver.ingest.arrivals import Arrival
from receiver.ingest.receipts import ACCEPTED, DUPLICATE, QUARANTINED, REJECTED, Receipt
from receiver.privacy.card_data import (
    cut_authentication_data,
    drop_authentication_data,
    may_hold_authentication_data,
)
from receiver.privacy.fingerprint import fingerprint
from receiver.privacy.sealing import body_digest, seal
from receiver.protocol.envelope import Event
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.json_body import parse_object, to_json
from receiver.protocol.kept import Kept, pack
from receiver.store.audit import record
from receiver.store.envelope_columns import envelope_columns
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import REVIVAL_INTERVAL, REVIVED_BY_REDELIVERY, State
from receiver.store.masked import masked_text
from receiver.store.models import StoredEvent
from receiver.store.person_index import write_entries
from receiver.store.same_body import KEPT, NOBODY_CAN_TELL, says_the_same
from receiver.store.tally import Key
from receiver.store.transitions import make_due
from receiver.store.wakeup import notify

MOST_COMPARED, LARGEST_COMPARED = 5, 64 * 1024
"""So many quarantined bodies of one event ID are compared with another one, the newest."""


class Delivery(NamedTuple):
    """One POST whose signature was right, with one event of it. It does not show its body."""

    kept: Kept
    request_id: str
    duration_ms: int = 0
    traceparent: str | None = None

    @property
    def body(self) -> bytes:
        """The event's own document."""
        return self.kept.body

    def __repr__(self) -> str:
        """Without the body, which is clear text."""
        return f"Delivery({self.kept}, {self.request_id})"


def arrival(settings: Settings, event: Event, delivery: Delivery) -> Arrival:
    """What is written of an event that is new."""
    seal_id, index = uuid4(), settings.person_index
    return Arrival(
        seal_id=seal_id,
        body_digest=body_digest(delivery.body, settings.payload_keys),
        sealed_payload=_sealed(settings, delivery.kept, event.payload, seal_id),
        event_id=event.id,
        **envelope_columns(event),
        traceparent=delivery.traceparent,
        request_id=delivery.request_id,
        duration_ms=delivery.duration_ms,
        detail=_noted(event),
        entries=tuple(index.entries(event.payload)) if index else (),
    )


class Rows:
    """What is written of one delivery, in a transaction that may be tried twice. SQLAlchemyError: nothing was."""

    def __init__(self, inbox: Inbox, delivery: Delivery) -> None:
        self._inbox, self._delivery = inbox, delivery
        self._has_own_row = inbox.tally.asked_once(inbox.clock.now())

    def receive_again(self, event: Event) -> Receipt:
        """Count another delivery of an event that is known."""
        with writing(self._inbox.engine) as session:
            self._receive_again(session, event)
        return Receipt(DUPLICATE, event.id, event.type)

    def quarantine_unusable(self, error: UnusablePayload) -> Receipt:
        """Keep an authentic body that can't be read as an event, for a replay once it can."""
        with writing(self._inbox.engine) as session:
            return self.quarantine_unusable_in(session, error)

    def quarantine_unusable_in(self, session: Session, error: UnusablePayload) -> Receipt:
        """`quarantine_unusable()` in a transaction that somebody else began."""
        row = self._row(error.payload) | {"parsed": error.payload is not None}
        words = ", ".join(f"{name} {' '.join(reasons)}" for name, reasons in sorted(error.errors.items()))
        row |= {"last_error": f"unusable: {words}"}
        self._quarantine(session, row, error.payload, "unusable", json.dumps(error.errors))
        return Receipt(QUARANTINED, errors=error.errors)

    def accept_in(self, session: Session, event: Event) -> Receipt:
        """Keep an event, or count another delivery of it, in a transaction that somebody else began."""
        now = self._inbox.now()
        columns = envelope_columns(event) | {"event_id": event.id, "state": State.PENDING, "due_at": now}
        inbox_id = self._insert(session, self._row(event.payload) | columns, event.payload)
        if inbox_id is None:
            self._receive_again(session, event)
            return Receipt(DUPLICATE, event.id, event.type)
        self._audit(session, ACCEPTED, inbox_id, event.id, event.type, detail=_noted(event))
        notify(session)
        return Receipt(ACCEPTED, event.id, event.type)

    def quarantine_stale(self, content: Event | UnusablePayload, reason: str) -> Receipt:
        """Keep a body with the right signature and a wrong timestamp, unless its event is here already."""
        with writing(self._inbox.engine) as session:
            return self.quarantine_stale_in(session, content, reason)

    def quarantine_stale_in(self, session: Session, content: Event | UnusablePayload, reason: str) -> Receipt:
        """`quarantine_stale()` in a transaction that somebody else began."""
        if isinstance(content, UnusablePayload):
            self.quarantine_unusable_in(session, content)
            return Receipt(REJECTED, reason=reason)
        known = session.scalar(sa.select(StoredEvent.id).where(StoredEvent.event_id == content.id))
        if known is None:
            self._quarantine_event(session, content, "stale", error=f"stale: {reason}")
        else:
            self._audit(session, "rejected: stale", known, content.id, content.type)
        return Receipt(REJECTED, content.id, content.type, reason=reason)

    def _receive_again(self, session: Session, event: Event) -> None:
        inbox = self._inbox
        known = session.execute(
            sa.update(StoredEvent)
            .where(StoredEvent.event_id == event.id)
            .values(deliveries=StoredEvent.deliveries + 1)
            .returning(*KEPT, StoredEvent.state, StoredEvent.revived_at, StoredEvent.erased_at)
        ).one()
        if known.erased_at is not None:  # whatever it says: what was erased for a person does not come back
            self._audit(session, DUPLICATE, known.id, event.id, event.type)
            return
        same = says_the_same(session, inbox.settings, known, self._delivery.body)
        if not same:
            session.execute(sa.update(StoredEvent).where(StoredEvent.id == known.id).values(id_reused=True))
            self._quarantine_event(session, event, "id_reused", NOBODY_CAN_TELL if same is None else None)
            return
        self._audit(session, DUPLICATE, known.id, event.id, event.type)
        recently = known.revived_at and inbox.clock.now() - known.revived_at < REVIVAL_INTERVAL
        if known.state in REVIVED_BY_REDELIVERY and not recently:
            self._revive(session, event, known)

    def _revive(self, session: Session, event: Event, known: Any) -> None:
        """Make a dead or unhandled event due again. The redelivered body serves where retention erased the first."""
        inbox, settings = self._inbox, self._inbox.settings
        make_due(
            session,
            inbox,
            known.id,
            revived_at=inbox.now(),
            sealed_payload=_sealed(settings, self._delivery.kept, event.payload, known.seal_id),
            sealing_key=settings.payload_keys[0].id,
        )
        write_entries(session, settings, known.id, event.payload)
        record(
            session,
            inbox,
            "replay",
            "due again",
            event_id=event.id,
            event_type=event.type,
            actor="redelivery",
            request_id=self._delivery.request_id,
            inbox_id=known.id,
        )

    def _quarantine_event(
        self, session: Session, event: Event, reason: str, detail: str | None = None, *, error: str | None = None
    ) -> None:
        """Keep another body of an event ID, or one that came too late. A retry of it is counted, with no own row."""
        body, settings = self._delivery.body, self._inbox.settings
        others = sa.select(*KEPT).where(StoredEvent.event_id.is_(None), StoredEvent.stated_event_id == event.id)
        most = MOST_COMPARED if len(body) <= LARGEST_COMPARED else 0  # a lock is held meanwhile
        newest = session.execute(others.order_by(StoredEvent.id.desc()).limit(most)).all()
        same = (other.id for other in newest if says_the_same(session, settings, other, body))
        row = self._row(event.payload) | envelope_columns(event) | {"stated_event_id": event.id}
        row |= {"last_error": error} if error else {}
        self._quarantine(session, row, event.payload, reason, detail, known=next(same, None))

    def _quarantine(
        self,
        session: Session,
        row: dict[str, Any],
        payload: Mapping[str, Any] | None,
        reason: str,
        detail: str | None,
        known: int | None = None,
    ) -> None:
        """Keep the row, or count another delivery of the one that is `known` or has the same bytes."""
        error = row.setdefault("last_error", reason)
        row |= {"state": State.QUARANTINED, "quarantine_reason": reason, "event_id": None, "due_at": None}
        row |= {"cause": fingerprint(row.get("event_type"), error), "cause_since": self._inbox.now()}
        inbox_id = None if known else self._insert(session, row, payload)
        if inbox_id is None:
            same_bytes = StoredEvent.event_id.is_(None) & (StoredEvent.body_digest == row["body_digest"])
            inbox_id = session.scalar(
                sa.update(StoredEvent)
                .where(StoredEvent.id == known if known else same_bytes)
                .values(deliveries=StoredEvent.deliveries + 1)
                .returning(StoredEvent.id)
            )
        stated = row.get("stated_event_id"), row.get("event_type")
        self._audit(session, f"quarantined: {reason}", inbox_id, *stated, detail=detail)

    def _insert(self, session: Session, row: dict[str, Any], payload: Mapping[str, Any] | None) -> int | None:
        """The new row's ID, or None when a unique index says that it is here already."""
        insert = insert_into(StoredEvent, session.get_bind().dialect.name).values(row)
        inserted: int | None = session.scalar(insert.on_conflict_do_nothing().returning(StoredEvent.id))
        if inserted is not None:
            write_entries(session, self._inbox.settings, inserted, payload)
        return inserted

    def _row(self, payload: Mapping[str, Any] | None) -> dict[str, Any]:
        """What is kept of a body that no handler will open soon, so it is masked at once."""
        seal_id, body, settings = uuid4(), self._delivery.body, self._inbox.settings
        return {
            "seal_id": seal_id,
            "body_digest": body_digest(body, settings.payload_keys),
            "sealed_payload": _sealed(settings, self._delivery.kept, payload, seal_id),
            "sealing_key": settings.payload_keys[0].id,
            "masked_payload": masked_text(settings, payload, body),
            "received_at": self._inbox.now(),
            "environment": settings.environment,
            "traceparent": self._delivery.traceparent,
        }

    def _audit(
        self,
        session: Session,
        result: str,
        inbox_id: int | None,
        event_id: str | None,
        event_type: str | None,
        detail: str | None = None,
    ) -> None:
        """The delivery's audit row. What can be repeated without end must not fill the disk."""
        if self._has_own_row(Key(result, event_id, event_type)):
            record(
                session,
                self._inbox,
                "delivery",
                result,
                event_id=event_id,
                event_type=event_type,
                request_id=self._delivery.request_id,
                duration_ms=self._delivery.duration_ms,
                detail=detail,
                inbox_id=inbox_id,
            )


def _noted(event: Event) -> str | None:
    """What the audit row of the delivery says of optional fields that were odd."""
    if not event.odd:
        return None
    return "odd, and taken as absent or as text: " + ", ".join(
        f"{name} {why}" for name, why in sorted(event.odd.items())
    )


def _sealed(settings: Settings, kept: Kept, payload: Mapping[str, Any] | None, seal_id: UUID) -> bytes:
    """The sealed body, without card authentication data (PCI DSS 3.3.1). Its numbers stay as they were written."""
    body = kept.body
    if payload is None:  # nobody can parse it, and cutting must not make an event of it
        body = cut_authentication_data(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    elif may_hold_authentication_data(body) and drop_authentication_data(payload)[1]:
        body = to_json(drop_authentication_data(parse_object(body, literal_numbers=True))[0]).encode()
    return seal(pack(kept._replace(body=body)), row=seal_id, keys=settings.payload_keys)
