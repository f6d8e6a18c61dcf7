"""Which event types are paused: their handlers do not run until a person resumes them. Deliveries are accepted as ever.

The name of a follow-up is a type like any other. `EVERY` pauses all types. receiver/actions/pause.py begins and ends a
pause.
"""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.store.lifecycle import EVERY
from receiver.store.models import Pause, StoredEvent


def paused_types(session: Session) -> frozenset[str]:
    """The types that are paused now, `EVERY` among them when all are."""
    return frozenset(session.scalars(sa.select(Pause.event_type).where(Pause.resumed_at.is_(None))))


def is_paused(event_type: str | None, paused: Collection[str]) -> bool:
    """Whether one of these pauses holds up events of this type."""
    return EVERY in paused or event_type in paused


def held_up(paused: Collection[str]) -> sa.ColumnElement[bool]:
    """Whether a row is of a type that one of these pauses holds up."""
    if EVERY in paused or not paused:
        return sa.true() if paused else sa.false()
    return sa.func.coalesce(StoredEvent.event_type, "").in_(sorted(paused))
