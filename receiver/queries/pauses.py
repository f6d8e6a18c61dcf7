"""What is paused now, since when, by whom and why, and how many events wait for it. Nothing here writes."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.queries.conditions import Paused
from receiver.queries.index_pieces import branch, counted
from receiver.store.lifecycle import EVERY, State
from receiver.store.models import Pause


def present_pauses(session: Session) -> Sequence[Paused]:
    """Every pause, the oldest first."""
    pauses = sa.select(Pause).where(Pause.resumed_at.is_(None)).order_by(Pause.paused_at, Pause.event_type)
    return [
        Paused(
            event_type=found.event_type,
            since=found.paused_at,
            by=found.paused_by,
            reason=found.reason,
            waiting=counted(session, branch(_waiting(found.event_type), None, None)),
        )
        for found in session.scalars(pauses)
    ]


def _waiting(event_type: str) -> dict[str, str]:
    of_type = {} if event_type == EVERY else {"event_type": event_type}
    return of_type | {"state": State.PENDING.value}
