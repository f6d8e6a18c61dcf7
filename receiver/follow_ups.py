"""Work outside the database that a handler asks for: `follow_up()`. A follow-up is a row of `events`, but our own.

It commits with what the handler wrote, or not at all. A worker runs it afterwards like any event: its own attempts,
backoff, dead, replay, masking, sealing, audit and pages. Its ID is made of the row that caused it, its name and its
key. So when the handler runs again, there is no second one. Nobody outside can guess the ID or trigger a follow-up:
what a sender sends never has a cause.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.insert import insert_into, parameters
from receiver.database.now import database_now
from receiver.privacy.sealing import body_digest, seal
from receiver.protocol.envelope import Event
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.json_body import to_json
from receiver.store.audit import record
from receiver.store.envelope_columns import envelope_columns
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import State
from receiver.store.models import StoredEvent
from receiver.store.person_index import write_entries

ASKED = "follow-up"
"""The action of the audit row."""
LONGEST_NAME = 200
LONGEST_WAIT = timedelta(days=3660)
_TEXTS = str | bool | int | float | Decimal | date | UUID | None
"""What `data` may hold, beside dictionaries and lists."""


@dataclass(frozen=True)
class Cause:
    """The event whose handler runs in a session."""

    inbox: Inbox
    inbox_id: int
    seal_id: UUID
    traceparent: str | None = None  # of the attempt's span, where somebody traces


def attach(session: Session, cause: Cause) -> None:
    """Say for which event the session works at the moment."""
    session.info[Cause] = cause


def follow_up(
    session: Session,
    event: Event,
    name: str,
    data: Mapping[str, Any] | None = None,
    *,
    delay: timedelta | None = None,
    not_before: datetime | None = None,
    key: str = "",
) -> str:
    """Ask for the follow-up of this name, in the transaction of your handler. Returns its ID, an idempotency key.

    `data` is what its function gets as `event.data`. Its transaction, policy and claim are those of your event. It
    runs at once after the commit, or after a `delay`, or `not_before` a moment. Asking again for the same name, even in
    a replay, changes nothing: give another `key` to ask for another one. Works in a handler only.
    """
    cause = session.info.get(Cause)
    if cause is None:
        raise RuntimeError("follow_up() works in a handler, with the handler's own session")
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name.isspace():
        raise ValueError(f"the name of a follow-up is printable text of up to {LONGEST_NAME} characters")
    if not_before is not None and not_before.tzinfo is None:
        raise ValueError("not_before needs a time zone")
    _refuse_odd(data or {})
    now = cause.inbox.clock.now()
    asked = replace(
        event, id=_id_of(cause, name, key), type=name, occurred_at=now, status=None, data=dict(data or {}), payload={}
    )
    session.flush()
    _ask(session, cause, asked, _wait(now, delay, not_before))
    return asked.id


def _wait(now: datetime, delay: timedelta | None, not_before: datetime | None) -> float:
    """Seconds from now."""
    until = (not_before - now).total_seconds() if not_before else 0.0
    wait = max(0.0, until, delay.total_seconds() if delay else 0.0)
    if wait > LONGEST_WAIT.total_seconds():
        raise ValueError(f"a follow-up waits for at most {LONGEST_WAIT.days} days")
    return wait


def _ask(session: Session, cause: Cause, asked: Event, wait: float) -> None:
    inbox, document = cause.inbox, _document(asked)
    body = to_json(document).encode()
    _read_back(inbox, body)
    ahead = inbox.clock.offset.total_seconds()
    row, connection = _row(cause, asked, body), session.connection()
    insert = _inserting(connection.dialect.name, tuple(row))
    inbox_id = connection.scalar(insert, row | {"ahead": ahead, "due": ahead + wait})
    if inbox_id is not None:
        write_entries(session, inbox.settings, inbox_id, document)
        about = {"event_id": asked.id, "event_type": asked.type, "inbox_id": inbox_id}
        record(session, inbox, ASKED, "asked for", actor=f"handler of #{cause.inbox_id}", **about)


@cache
def _inserting(dialect: str, columns: tuple[str, ...]) -> sa.Executable:
    """Built once: a handler may ask for a follow-up of each event. None is returned when it is there already."""
    table: Any = StoredEvent.__table__
    values: dict[str, Any] = parameters(table, columns)
    values["received_at"] = database_now(sa.bindparam("ahead", type_=sa.Float()))
    values["due_at"] = database_now(sa.bindparam("due", type_=sa.Float()))
    insert: sa.Executable = insert_into(table, dialect).values(values).on_conflict_do_nothing().returning(table.c.id)
    return insert


def _document(asked: Event) -> dict[str, Any]:
    """As a sender would write it, with our own field names."""
    references = {"transaction_id": asked.transaction_id, "policy_id": asked.policy_id, "claim_id": asked.claim_id}
    envelope = {"event_id": asked.id, "event_type": asked.type, "timestamp": asked.occurred_at.isoformat()}
    return envelope | references | {"data": asked.data}


def _read_back(inbox: Inbox, body: bytes) -> None:
    """What can't be read again would be lost. Raises ValueError, which quotes no value."""
    try:
        inbox.settings.read_event(body, is_ours=True)
    except UnusablePayload as error:
        raise ValueError(f"the data of a follow-up can't be read back: {error}") from None


def _refuse_odd(value: object) -> None:
    """Raises TypeError for what JSON would make another thing of."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError("the keys of a follow-up's data are texts")
            _refuse_odd(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_odd(item)
    elif not isinstance(value, _TEXTS):
        raise TypeError(f"the data of a follow-up holds no {type(value).__name__}")


def _row(cause: Cause, asked: Event, body: bytes) -> dict[str, Any]:
    settings, seal_id = cause.inbox.settings, uuid4()
    return {
        "seal_id": seal_id,
        "event_id": asked.id,
        **envelope_columns(asked),
        "environment": settings.environment,
        "caused_by": cause.inbox_id,
        "traceparent": cause.traceparent,
        "deliveries": 0,
        "state": State.PENDING,
        "body_digest": body_digest(body, settings.payload_keys),
        "sealed_payload": seal(body, row=seal_id, keys=settings.payload_keys),
        "sealing_key": settings.payload_keys[0].id,
    }


def _id_of(cause: Cause, name: str, key: str) -> str:
    asked = f"{cause.seal_id}\n{name}\n{key}".encode()
    return f"fup_{hashlib.sha256(asked).hexdigest()[:32]}"
