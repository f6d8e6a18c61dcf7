"""Makes events due again: for the page, the CLI, and for quarantined bodies once they parse.

A replay of an event that is running, or due anyway, does nothing. An event that waits, such as a failing one or a
delayed follow-up, runs at once. Two operators at once make one replay. An event whose payload can't be read is refused
and stays as it is. A row without an event ID is or was quarantined: it gets its ID when it parses.

    CannotReplay    not_found, erased, unreadable, unusable or id_reused
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.engine import writing
from receiver.privacy.sealing import CannotUnseal, seal, unseal
from receiver.protocol.envelope import Event
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.kept import Kept, pack, unpack
from receiver.store.audit import record
from receiver.store.envelope_columns import envelope_columns
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import REPLAYABLE, State
from receiver.store.models import StoredEvent
from receiver.store.person_index import forget_entries, write_entries
from receiver.store.same_body import KEPT, NOBODY_CAN_TELL, says_the_same
from receiver.store.transitions import make_due


class Replayed(StrEnum):
    """What came of a replay, in words for people. The name of each is its reason code, in small letters."""

    DUE = "due again"
    DUPLICATE = "duplicate"
    PENDING = "pending already"
    REPLAYED = "replayed already"


class CannotReplay(Exception):
    """The event can't be made due again, and stays as it is. `reason` is a stable code, the message a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def replay(
    inbox: Inbox, inbox_id: int, *, actor: str, reason: str | None = None, unless_since: datetime | None = None
) -> Replayed:
    """Make one event due again and say what happened.

    If somebody replayed the event after `unless_since`, nothing happens: the caller had not seen that replay. Raises
    CannotReplay when the payload was erased, can't be unsealed, or does not parse.
    """
    with writing(inbox.engine) as session:
        return replay_in(session, inbox, inbox_id, actor=actor, reason=reason, unless_since=unless_since)


def replay_in(
    session: Session, inbox: Inbox, inbox_id: int, *, actor: str, reason: str | None, unless_since: datetime | None
) -> Replayed:
    """`replay()` in a transaction that somebody else began."""
    row = session.get(StoredEvent, inbox_id, with_for_update=True)
    if row is None:
        raise CannotReplay("not_found", "there is no such event")
    if not (row.state in REPLAYABLE or can_run_now(inbox, row)):
        return Replayed.PENDING
    if unless_since and row.replayed_at and row.replayed_at > unless_since:
        return Replayed.REPLAYED
    event, kept = _opened(inbox, row)
    result = _release(session, inbox, row, event, kept) if row.event_id is None else Replayed.DUE
    if result is Replayed.DUE:
        make_due(session, inbox, inbox_id, replayed_at=inbox.now())
    record(
        session, inbox, "replay", result, event_id=row.event_id or row.stated_event_id,
        event_type=row.event_type, actor=actor, detail=reason, inbox_id=inbox_id,
    )  # fmt: skip
    return result


def can_run_now(inbox: Inbox, row: StoredEvent) -> bool:
    """Whether the event is pending, but waits: it was tried without success, or is to run later. Nobody runs it.

    A person may know that the cause is mended, or that a letter has to go out today.
    """
    waits = row.last_error is not None or (row.due_at is not None and row.due_at > inbox.clock.now())
    return row.state == State.PENDING and row.leased_by is None and waits


def _release(session: Session, inbox: Inbox, row: StoredEvent, event: Event, kept: Kept) -> Replayed:
    """Give a quarantined body its event ID. If its event has arrived in the meantime, it is a duplicate."""
    twin = session.execute(sa.select(*KEPT).where(StoredEvent.event_id == event.id)).one_or_none()
    if twin is None:
        columns: dict[str, Any] = envelope_columns(event) | {"event_id": event.id, "stated_event_id": None}
        if not row.parsed:  # from now on it is read as it was read now, whatever the settings will be
            keys = inbox.settings.payload_keys
            columns["sealed_payload"] = seal(pack(kept), row=row.seal_id, keys=keys)
            columns["sealing_key"] = keys[0].id
            write_entries(session, inbox.settings, row.id, event.payload)
        session.execute(
            sa.update(StoredEvent)
            .where(StoredEvent.id == row.id)
            .values(**columns, quarantine_reason=None, parsed=True)
        )
        return Replayed.DUE
    same = twin.body_digest == row.body_digest or says_the_same(session, inbox.settings, twin, kept.body)
    if same is None:
        raise CannotReplay("unreadable", f"its event ID is taken, and {NOBODY_CAN_TELL}")
    if not same:
        raise CannotReplay("id_reused", "its event ID belongs to another body: the first one wins")
    session.execute(sa.delete(StoredEvent).where(StoredEvent.id == row.id))
    forget_entries(session, [row.id])
    return Replayed.DUPLICATE


def _opened(inbox: Inbox, row: StoredEvent) -> tuple[Event, Kept]:
    """The event that a handler would get. Raises CannotReplay."""
    if row.sealed_payload is None:
        raise CannotReplay("erased", f"its payload was erased {'for a person' if row.erased_at else 'by retention'}")
    try:
        settings = inbox.settings
        kept = unpack(unseal(row.sealed_payload, row=row.seal_id, keys=settings.payload_keys))
        if not row.parsed:
            kept = settings.parsed(kept)
        return settings.read_kept(kept, is_ours=row.is_follow_up), kept
    except CannotUnseal as error:
        raise CannotReplay("unreadable", f"its payload cannot be unsealed: {error}") from None
    except UnusablePayload as error:
        raise CannotReplay("unusable", f"it does not parse: {', '.join(sorted(error.errors))}") from None
