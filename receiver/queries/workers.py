"""Who works: the worker processes that live, what each runs, and how many leases it holds. Nothing here writes.

A worker's parent says every five seconds that it lives, and which event it runs (receiver/worker/processes.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.store.inbox import Inbox
from receiver.store.models import PURGE, Heartbeat, StoredEvent

WORKER_SILENCE = timedelta(minutes=1)
"""A worker that was not seen for so long lives no more."""
MOST_WORKERS = 200
MOST_LEASED = 5_000
"""So many of the oldest due events are looked at for leases: workers take the oldest."""


@dataclass(frozen=True)
class Worker:
    """A worker process that lives."""

    name: str
    runs: str | None  # its lane: all, quick or slow
    started_at: datetime
    seen_at: datetime
    leases: int
    running: Any = None  # id, event_id and event_type of the event that it ran when it was seen


@dataclass(frozen=True)
class Workers:
    """Those that live, the oldest first, and how many others were seen within a day."""

    living: Sequence[Worker]
    gone: int


def is_worker() -> sa.ColumnElement[bool]:
    """Whether a heartbeat is a worker's."""
    return Heartbeat.worker != PURGE


def workers(session: Session, inbox: Inbox) -> Workers:
    """The workers of this moment."""
    alive_since = inbox.clock.now() - WORKER_SILENCE
    alive = is_worker() & (Heartbeat.seen_at > alive_since)
    held = (StoredEvent.id == Heartbeat.running) & (StoredEvent.leased_by == Heartbeat.worker)
    rows = session.execute(
        sa.select(Heartbeat, StoredEvent.id, StoredEvent.event_id, StoredEvent.event_type)
        .outerjoin(StoredEvent, held)
        .where(alive)
        .order_by(Heartbeat.started_at, Heartbeat.worker)
        .limit(MOST_WORKERS)
    )
    leases = _leases(session, inbox)
    gone = sa.select(sa.func.count()).where(is_worker(), Heartbeat.seen_at <= alive_since)
    return Workers([_worker(row, leases) for row in rows], session.scalar(gone) or 0)


def _worker(row: Any, leases: dict[str, int]) -> Worker:
    beat = row.Heartbeat
    running = row if row.id is not None else None
    return Worker(beat.worker, beat.runs, beat.started_at, beat.seen_at, leases.get(beat.worker, 0), running)


def _leases(session: Session, inbox: Inbox) -> dict[str, int]:
    """How many each worker holds. The state is a literal, and SQLite is told, so that the partial index serves it."""
    first = (
        sa.select(StoredEvent.leased_by)
        .where(StoredEvent.state == sa.literal_column("'pending'"), StoredEvent.due_at <= inbox.now())
        .order_by(StoredEvent.due_at, StoredEvent.id)
        .with_hint(StoredEvent, "INDEXED BY ix_events_due", "sqlite")
        .limit(MOST_LEASED)
        .subquery()
    )
    held = sa.select(first.c.leased_by, sa.func.count()).where(first.c.leased_by.is_not(None))
    return {str(worker): int(number) for worker, number in session.execute(held.group_by(first.c.leased_by))}
