"""Failures by their cause: 200 events that one bug has stopped are one group. Nothing here writes.

A group holds events that fail and are tried again, that are dead, and that are quarantined. The newest failures are
looked at, up to MOST, by an index that has no other rows. receiver/privacy/fingerprint.py says what one cause is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.columns import UtcDateTime
from receiver.queries.search import COLUMNS, Row
from receiver.queries.workers import is_worker
from receiver.store.lifecycle import State
from receiver.store.models import Heartbeat, StoredEvent

MOST = 50_000
MOST_GROUPS = 200
STATES = (State.PENDING, State.DEAD, State.QUARANTINED)


@dataclass(frozen=True)
class Group:
    """The failures of one cause."""

    cause: str
    count: int
    by_state: dict[State, int]
    first_seen: datetime
    last_seen: datetime
    is_new: bool  # none of them began to fail before the moment that was asked for
    sample: Row


@dataclass(frozen=True)
class Failures:
    """The groups: new ones first, then large ones. `capped`: there are older failures that were not looked at."""

    groups: Sequence[Group]
    capped: bool


def failures(session: Session, since: datetime | None) -> Failures:
    """What went wrong, how often, since when. A group is new if it was first seen at `since` or later."""
    rows = (
        sa.select(StoredEvent.cause, StoredEvent.cause_since, StoredEvent.state, StoredEvent.id)
        .where(sa.text("events.cause IS NOT NULL"))
        .order_by(StoredEvent.cause_since.desc(), StoredEvent.id.desc())
        .with_hint(StoredEvent, "INDEXED BY ix_events_cause_since", "sqlite")
        .limit(MOST + 1)
        .subquery()
    )
    moment, number = UtcDateTime(), sa.func.count()
    first, last = sa.func.min(rows.c.cause_since, type_=moment), sa.func.max(rows.c.cause_since, type_=moment)
    in_state = [sa.func.sum(sa.case((rows.c.state == state, 1), else_=0)) for state in STATES]
    groups = sa.select(rows.c.cause, number, first, last, sa.func.max(rows.c.id), *in_state).group_by(rows.c.cause)
    found = session.execute(groups.order_by(number.desc(), rows.c.cause)).all()
    samples = _rows(session, [group[4] for group in found[:MOST_GROUPS]])
    kept = [
        Group(
            cause=cause,
            count=count,
            by_state={state: int(part) for state, part in zip(STATES, parts, strict=True) if part},
            first_seen=first_seen,
            last_seen=last_seen,
            is_new=since is not None and first_seen >= since,
            sample=samples[sample],
        )
        for cause, count, first_seen, last_seen, sample, *parts in found[:MOST_GROUPS]
        if sample in samples
    ]
    kept.sort(key=lambda group: (group.is_new, group.count, group.last_seen), reverse=True)
    return Failures(kept, sum(group[1] for group in found) > MOST or len(found) > MOST_GROUPS)


def workers_began(session: Session, alive_since: datetime) -> datetime | None:
    """When the first of the workers that live began: a deploy restarts them all. None when none lives."""
    alive = (Heartbeat.seen_at >= alive_since) & is_worker()
    return session.scalar(sa.select(sa.func.min(Heartbeat.started_at)).where(alive))


def _rows(session: Session, ids: Sequence[int]) -> dict[int, Row]:
    found = session.execute(sa.select(*COLUMNS).where(StoredEvent.id.in_(ids)))
    return {row.id: row for row in map(Row._make, found)}
