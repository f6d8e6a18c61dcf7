"""Closes events that need no more work: dead, unhandled or quarantined ones, for a reason that the audit log keeps.

Nothing alarms about a dismissed event any more, and a redelivery does not revive it. A replay brings it back. It keeps
its error, its payload and the retention that it had.

    CannotDismiss    not_found or not_closed
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from receiver.database.engine import writing
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import DISMISSABLE, State
from receiver.store.models import StoredEvent
from receiver.store.transitions import NO_CAUSE, moving


class Dismissed(StrEnum):
    """What came of it, in words for people. The name of each is its reason code, in small letters."""

    DONE = "dismissed"
    DISMISSED = "dismissed already"
    REPLAYED = "replayed since"


class CannotDismiss(Exception):
    """The event stays as it is. `reason` is a stable code, the message a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def dismiss(inbox: Inbox, inbox_id: int, *, actor: str, reason: str, unless_since: datetime | None = None) -> Dismissed:
    """Dismiss one event and say what happened.

    If somebody replayed the event after `unless_since`, nothing happens: the caller had not seen that replay. Raises
    CannotDismiss for an event that a handler is still to run, or has run.
    """
    with writing(inbox.engine) as session:
        return dismiss_in(session, inbox, inbox_id, actor=actor, reason=reason, unless_since=unless_since)


def dismiss_in(
    session: Session, inbox: Inbox, inbox_id: int, *, actor: str, reason: str, unless_since: datetime | None
) -> Dismissed:
    """`dismiss()` in a transaction that somebody else began."""
    row = session.get(StoredEvent, inbox_id, with_for_update=True)
    if row is None:
        raise CannotDismiss("not_found", "there is no such event")
    if row.state == State.DISMISSED:
        return Dismissed.DISMISSED
    if row.state not in DISMISSABLE:
        raise CannotDismiss("not_closed", f"it is {row.state}, so it can't be dismissed")
    if unless_since and row.replayed_at and row.replayed_at > unless_since:
        return Dismissed.REPLAYED
    session.execute(moving(State.DISMISSED, finished_at=inbox.now(), **NO_CAUSE).where(StoredEvent.id == inbox_id))
    record(
        session, inbox, "dismiss", "dismissed", event_id=row.event_id or row.stated_event_id,
        event_type=row.event_type, actor=actor, detail=reason, inbox_id=inbox_id,
    )  # fmt: skip
    return Dismissed.DONE
