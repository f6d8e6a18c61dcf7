"""One at a time: events of one policy, say, whose handlers must not run at once, and the earliest of them first.

A handler asks for it by `@handles(…, one_at_a_time_by="policy_id")`. The turn lasts as long as the transaction. On
PostgreSQL it is an advisory lock of the transaction; SQLite has one writer. An event that is not next is put off, and
no attempt is charged. It can't wait for what has not come: an earlier event that arrives later runs later.
"""

import hashlib

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.protocol.envelope import Event
from receiver.registry import RetryLater, turn_of
from receiver.store.lifecycle import State
from receiver.store.models import StoredEvent

PUT_OFF_SECONDS = 1
MOST_LOOKED_AT = 100
"""So many earlier events of the same reference are looked at. They may be of types that need no turn."""


def take_turn(session: Session, event: Event, inbox_id: int, by: str) -> None:
    """Take the turn of this event's `by`, such as `policy_id`. Raises RetryLater when another event is first.

    The session's transaction has begun, on SQLite as the one writer.
    """
    reference = getattr(event, by)
    if reference is None:
        return
    if not _lock(session, f"{by}:{reference}"):
        raise RetryLater(PUT_OFF_SECONDS, f"another event of its {by} is running")
    if _is_later(session, event, inbox_id, by):
        raise RetryLater(PUT_OFF_SECONDS, f"an earlier event of its {by} is first")


def _lock(session: Session, name: str) -> bool:
    if session.get_bind().dialect.name != "postgresql":
        return True
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    return bool(session.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(number))))


def _is_later(session: Session, event: Event, inbox_id: int, by: str) -> bool:
    """Whether an event of the same reference that occurred earlier is still to be run."""
    same = getattr(StoredEvent, by) == getattr(event, by)
    place = sa.tuple_(StoredEvent.occurred_at, StoredEvent.id) < sa.tuple_(
        sa.literal(event.occurred_at, StoredEvent.occurred_at.type), sa.literal(inbox_id)
    )
    earlier = (
        sa.select(StoredEvent.event_type)
        .where(same, place, StoredEvent.state == State.PENDING, StoredEvent.caused_by.is_(None))
        .order_by(StoredEvent.occurred_at, StoredEvent.id)
        .limit(MOST_LOOKED_AT)
    )
    return any(turn_of(event_type or "") == by for event_type in session.scalars(earlier))
