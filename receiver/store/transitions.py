"""How a stored event goes from one state to another: only in a way that lifecycle.py names.

A worker settles many events with one statement of its own (receiver/worker/settlement.py), which asks
`lifecycle.checked()`. Every other change of a state is `moving()`.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.store.inbox import Inbox
from receiver.store.lifecycle import State, origins
from receiver.store.models import StoredEvent
from receiver.store.wakeup import notify

NO_CAUSE: dict[str, Any] = {"cause": None, "cause_since": None}
"""What an event has that has not failed, or whose failure concerns nobody any more."""


def moving(to: State, **columns: Any) -> sa.Update:
    """An UPDATE that brings events into this state, and sets these columns. The caller says which events.

    An event that may not go there from its present state stays as it is.
    """
    return sa.update(StoredEvent).where(StoredEvent.state.in_(sorted(origins(to)))).values(state=to, **columns)


def make_due(session: Session, inbox: Inbox, inbox_id: int, **columns: Any) -> None:
    """Let the event start again: it is due now and has all its attempts, and workers are woken."""
    session.execute(
        moving(
            State.PENDING,
            attempts=0,
            due_at=inbox.now(),
            finished_at=None,
            last_error=None,
            failing_since=None,
            **NO_CAUSE,
            lease_token=None,
            lease_until=None,
            **columns,
        ).where(StoredEvent.id == inbox_id)
    )
    notify(session)
