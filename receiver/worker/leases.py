"""Who may run an event now: the lease and its token.

A lease is charged as an attempt when it is taken, so an event that kills its worker runs out of attempts like any
other. Only the holder of the token may settle (settlement.py), or hand its leases back.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from operator import attrgetter
from random import Random
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.engine import writing
from receiver.database.now import database_now
from receiver.privacy.fingerprint import fingerprint
from receiver.store.audit import WORKER_LOST, record
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import EVERY, State, backoff
from receiver.store.models import StoredEvent
from receiver.store.pauses import held_up
from receiver.store.transitions import moving
from receiver.worker.lanes import Lane, in_lane, slow_patterns
from receiver.worker.workbench import Workbench

LEASE_MARGIN_SECONDS = 15.0
MOST_LEASED = 5_000
"""More leases than all workers hold together; where they hold more, lost ones are found a little later."""
WORKER_DIED = (
    "the worker died during every attempt: it was killed, ran out of memory, called os._exit, or ignored its time limit"
)
_LOST = "the worker did not end its last attempt: it was killed, or lost its database"
_PENDING = StoredEvent.state == sa.literal_column("'pending'")  # a literal, so that the partial index serves it
_EVENTS: Any = StoredEvent.__table__
_RELEASED: dict[str, Any] = {"lease_token": None, "lease_until": None, "leased_by": None}


class Lease(NamedTuple):
    """The right to run one attempt of one event, until the lease ends."""

    inbox_id: int
    token: UUID
    attempt: int
    event_id: str
    event_type: str
    seal_id: UUID
    sealed_payload: bytes | None
    masked: bool  # whether its masked payload is there already
    received_at: datetime
    caused_by: int | None = None
    traceparent: str | None = None

    @property
    def is_follow_up(self) -> bool:
        """Whether a handler of ours asked for it."""
        return self.caused_by is not None


def lease_due(bench: Workbench) -> list[Lease]:
    """Take the events that are due, oldest first, and commit the leases.

    An event whose lease ended without an outcome may have killed its worker. It is taken alone, so that it can't harm
    other events, and it is dead when its attempts are used up. Such events are looked for once a second. Nothing of a
    paused type is taken.
    """
    inbox, token, leases, slow = bench.inbox, uuid4(), list[Lease](), slow_patterns()
    with writing(inbox.engine) as session:
        paused = bench.pauses.types(session, inbox.clock.now())
        if EVERY in paused:
            return leases
        if bench.lost_leases.is_due(inbox.clock.now()):
            # Beyond its last attempt by one: in that one it may have been a neighbour that never ran.
            _bury(session, inbox, _lost(inbox) & (StoredEvent.attempts > inbox.settings.max_attempts))
            leases = _take(session, bench, token, _leasing(_lost(inbox) & _chosen(bench.lane, slow, paused)), most=1)
        for lease in leases:
            _note_lost(session, inbox, lease)
            bench.lost_leases.again()
        free, most = _free(bench.lane, slow, paused), bench.paces.at_once(inbox.settings.worker_batch)
        return leases or _take(session, bench, token, free, most=most)


def renew(inbox: Inbox, leases: Sequence[Lease]) -> None:
    """Renew these leases. A lease that was lost is noticed when its event is settled."""
    with writing(inbox.engine) as session:
        session.execute(
            sa.update(StoredEvent).where(_still_held(leases)).values(lease_until=inbox.now(plus=_lease_seconds(inbox))),
            execution_options={"synchronize_session": False},
        )


def hand_back(inbox: Inbox, leases: Sequence[Lease], *, is_audited: bool = True) -> None:
    """Return leases whose handlers did not run to their end: due at once, and the attempt is not charged."""
    with writing(inbox.engine) as session:
        _return(session, inbox, _still_held(leases), is_audited=is_audited)


def recover(inbox: Inbox, worker: str, *, begun: int, died: bool) -> None:
    """End all leases of a worker that has `died` or lost the database, also leases that it never heard of.

    `begun` is the row whose attempt began last, or 0. Only this event is charged an attempt. It keeps its token, so
    that it is taken alone. If its worker died, it is due after the pause of a failed attempt: otherwise all attempts
    would be over in seconds. After the last attempt it is dead. Events whose attempt did not begin cost nothing.
    """
    held = _PENDING & (StoredEvent.leased_by == worker)
    first = _first_due(inbox)
    others = StoredEvent.id.in_(sa.select(first.c.id).where(first.c.leased_by == worker, first.c.id != begun))
    with writing(inbox.engine) as session:
        if died:
            exhausted = StoredEvent.attempts >= inbox.settings.max_attempts
            _bury(session, inbox, held & (StoredEvent.id == begun) & exhausted)
        begun_one = sa.select(StoredEvent.attempts, StoredEvent.event_type).where(held, StoredEvent.id == begun)
        attempts, event_type = session.execute(begun_one).one_or_none() or (0, None)
        changes: dict[str, Any] = {"lease_until": inbox.now(plus=-1)}
        if died and attempts:
            again_at = inbox.now(plus=backoff(attempts, Random()))  # noqa: S311 - jitter
            changes = {"lease_until": again_at, "due_at": again_at, "leased_by": None, **_failing(inbox, event_type)}
        session.execute(sa.update(StoredEvent).where(held, StoredEvent.id == begun).values(changes))
        _return(session, inbox, held & others)


def _still_held(leases: Sequence[Lease]) -> sa.ColumnElement[bool]:
    rows, tokens = [lease.inbox_id for lease in leases], {lease.token for lease in leases}
    return StoredEvent.id.in_(rows) & StoredEvent.lease_token.in_(tokens)


def _first_due(inbox: Inbox) -> sa.Subquery:
    """The rows that include all leased ones. A worker takes the oldest due events, however long the backlog is."""
    return (
        sa.select(StoredEvent.id, StoredEvent.leased_by, StoredEvent.lease_until)
        .where(_PENDING, StoredEvent.due_at <= inbox.now())
        .order_by(StoredEvent.due_at, StoredEvent.id)
        .with_hint(StoredEvent, "INDEXED BY ix_events_due", "sqlite")
        .limit(MOST_LEASED)
        .subquery()
    )


def _lost(inbox: Inbox) -> sa.ColumnElement[bool]:
    """Leases that have ended."""
    first = _first_due(inbox)
    ended = StoredEvent.lease_token.is_not(None) & (StoredEvent.lease_until <= inbox.now())
    return _PENDING & StoredEvent.id.in_(sa.select(first.c.id).where(first.c.lease_until <= inbox.now())) & ended


def _lease_seconds(inbox: Inbox) -> float:
    """Seconds. An attempt begins within one time limit of the last renewal, and takes another one at most."""
    return 2 * inbox.settings.handler_timeout + LEASE_MARGIN_SECONDS


def _return(session: Session, inbox: Inbox, which: sa.ColumnElement[bool], *, is_audited: bool = True) -> None:
    returned = session.execute(
        sa.update(StoredEvent)
        .where(which)
        .values(attempts=StoredEvent.attempts - 1, **_RELEASED)
        .returning(StoredEvent.id, StoredEvent.event_id, StoredEvent.event_type),
        execution_options={"synchronize_session": False},
    ).all()
    for inbox_id, event_id, event_type in returned if is_audited else ():
        record(session, inbox, "attempt", "handed back", event_id=event_id, event_type=event_type, inbox_id=inbox_id)


def _leasing(which: sa.ColumnElement[bool]) -> sa.Executable:
    """The statement that takes what is due of this, oldest first. `_take()` says what its parameters are."""
    now = database_now(sa.bindparam("ahead", type_=sa.Float()))
    due = (
        sa.select(_EVENTS.c.id)
        .where(which, _EVENTS.c.due_at <= now)
        .order_by(_EVENTS.c.due_at, _EVENTS.c.id)
        .limit(sa.bindparam("most", type_=sa.Integer()))
        .with_hint(_EVENTS, "INDEXED BY ix_events_due", "sqlite")  # or it sorts the whole backlog each time
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return (
        sa.update(_EVENTS)
        .where(_EVENTS.c.id.in_(sa.select(due.c.id)))
        .values(
            attempts=_EVENTS.c.attempts + 1,
            lease_token=sa.bindparam("token"),
            leased_by=sa.bindparam("worker"),
            lease_until=database_now(sa.bindparam("lease", type_=sa.Float())),
        )
        .returning(
            _EVENTS.c.id,
            _EVENTS.c.attempts,
            _EVENTS.c.event_id,
            _EVENTS.c.event_type,
            _EVENTS.c.seal_id,
            _EVENTS.c.sealed_payload,
            sa.func.length(_EVENTS.c.masked_payload),  # SQLite 3.40 says of any column here that it IS NOT NULL
            _EVENTS.c.received_at,
            _EVENTS.c.caused_by,
            _EVENTS.c.traceparent,
        )
    )


@cache
def _free(lane: Lane, slow: Sequence[str], paused: frozenset[str]) -> sa.Executable:
    """Built once: a worker asks for it all the time."""
    return _leasing(_PENDING & StoredEvent.lease_token.is_(None) & _chosen(lane, slow, paused))


def _chosen(lane: Lane, slow: Sequence[str], paused: frozenset[str]) -> sa.ColumnElement[bool]:
    """Whether a row is of this lane, and no pause holds it up."""
    return in_lane(lane, slow) & ~held_up(paused) if paused else in_lane(lane, slow)


def _take(session: Session, bench: Workbench, token: UUID, leasing: sa.Executable, most: int) -> list[Lease]:
    ahead = bench.inbox.clock.offset.total_seconds()
    values = {"token": token, "worker": bench.worker, "most": most, "ahead": ahead}
    rows = session.execute(leasing, values | {"lease": ahead + _lease_seconds(bench.inbox)})
    leases = [
        Lease(r[0], token, r[1], r[2] or "", r[3] or "", r[4], r[5], r[6] is not None, r[7], r[8], r[9]) for r in rows
    ]
    return sorted(leases, key=attrgetter("inbox_id"))


def _note_lost(session: Session, inbox: Inbox, lease: Lease) -> None:
    """The attempt before this one ended without an outcome."""
    session.execute(
        sa.update(StoredEvent).where(StoredEvent.id == lease.inbox_id).values(_failing(inbox, lease.event_type)),
        execution_options={"synchronize_session": False},
    )
    record(
        session, inbox, "attempt", WORKER_LOST, event_id=lease.event_id, event_type=lease.event_type,
        actor=f"attempt {lease.attempt - 1}", inbox_id=lease.inbox_id,
    )  # fmt: skip


def _failing(inbox: Inbox, event_type: str | None) -> dict[str, Any]:
    """The event is failing: people see that, and why, before its attempts are used up."""
    since = {"failing_since": sa.func.coalesce(StoredEvent.failing_since, inbox.now())}
    return {"last_error": _LOST, **since, **_cause(inbox, event_type, _LOST)}


def _cause(inbox: Inbox, event_type: str | None, error: str) -> dict[str, Any]:
    return {"cause": fingerprint(event_type, error), "cause_since": inbox.now()}


def _bury(session: Session, inbox: Inbox, which: sa.ColumnElement[bool]) -> None:
    """Mark events as dead whose worker died in their last permitted attempt."""
    rows = session.execute(
        moving(State.DEAD, finished_at=inbox.now(), last_error=WORKER_DIED, failing_since=None, **_RELEASED)
        .where(which)
        .returning(StoredEvent.id, StoredEvent.event_id, StoredEvent.event_type),
        execution_options={"synchronize_session": False},
    ).all()
    for inbox_id, event_id, event_type in rows:
        session.execute(
            sa.update(StoredEvent).where(StoredEvent.id == inbox_id).values(_cause(inbox, event_type, WORKER_DIED)),
            execution_options={"synchronize_session": False},
        )
        record(
            session, inbox, "attempt", "dead", event_id=event_id, event_type=event_type, detail=WORKER_DIED,
            inbox_id=inbox_id,
        )  # fmt: skip
