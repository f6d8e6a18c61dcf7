"""Does one act on everything that a filter finds: a person plans and confirms it, then a worker does it in small steps.

    planned ── confirm ──▶ running ── nothing left ──▶ done
       └──────── cancel ──────┴──▶ cancelled

A plan counts and shows before anything happens. Confirming it twice starts it once. An event that was replayed after
the plan was made is skipped, so two operators at once make one replay.

A step is one transaction, which locks the row of its bulk act. So two workers never take the same step, and a step
that a crash cuts off has changed nothing. Skipped events are counted by their reason code. To add a reason, add a line
to `LEFT_ALONE`. To add an act, add it to `Act`, and its line to `_DOING`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from receiver.actions.dismiss import CannotDismiss, Dismissed, dismiss_in
from receiver.actions.replay import CannotReplay, Replayed, replay_in
from receiver.database.causes import cause_of, is_lock_conflict, is_out_of_order
from receiver.database.engine import reading, writing
from receiver.privacy.masking import mask_text
from receiver.queries.count import Count, total
from receiver.queries.filters import Filter, described, from_address, in_address
from receiver.queries.search import Row, count_failing, counts, page
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import DISMISSABLE, REPLAYABLE, State
from receiver.store.models import BulkAct, StoredEvent

log = structlog.get_logger()

STEP = 100
SAMPLE = 10
LEFT_ALONE = {
    "pending": "pending",
    "processed": "processed",
    "done": "a follow-up that was done: filter by its type to do it again",
    "dismissed": "dismissed: filter by this state to replay it",
    "replayed": "replayed since this was planned",
    "duplicate": "another delivery of the same event is kept",
    "not_found": "gone since",
    "not_closed": "due again since",
    "erased": "retention has erased the payload",
    "unreadable": "no key opens the payload",
    "unusable": "the payload does not parse",
    "id_reused": "the event ID belongs to another body",
    "refused": "the database refused it",
}
"""Reason codes, and what a person reads."""


class Act(StrEnum):
    """What can be done in bulk."""

    REPLAY = "replay"
    DISMISS = "dismiss"


class Progress(StrEnum):
    """The states of a bulk act."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Plan:
    """What would be done."""

    job: BulkAct
    chosen: Filter
    sample: Sequence[Row]
    count: int
    capped: bool  # the count stops at the cap of search.counts()


class _Doing(NamedTuple):
    """One act. `states` are those in which the act takes events of a filter that names no state."""

    states: frozenset[State]
    possible: frozenset[State]
    takes_failing: bool
    do: Callable[[Session, Inbox, BulkAct, int], str | None]


def plan(inbox: Inbox, chosen: Filter, *, actor: str, reason: str | None, act: Act = Act.REPLAY) -> int:
    """Store a plan for these events, and return its number. Nothing is done before it is confirmed.

    Raises ValueError when a dismissal has no reason.
    """
    if act is Act.DISMISS and not reason:
        raise ValueError("a dismissal needs a reason")
    with writing(inbox.engine) as session:
        inserted = session.scalar(
            sa.insert(BulkAct)
            .values(
                created_at=inbox.now(), created_by=actor, act=act, reason=reason and mask_text(reason),
                filter=urlencode(in_address(chosen.parameters(), inbox.settings.showing), doseq=True),
                state=Progress.PLANNED, done=0, skipped=0,
            )
            .returning(BulkAct.id)
        )  # fmt: skip
    return int(inserted or 0)


def look(inbox: Inbox, number: int) -> Plan | None:
    """The bulk act of this number, with a count and a sample of what it would act on now."""
    with reading(inbox.engine) as session:
        job = session.get(BulkAct, number)
        if job is None:
            return None
        chosen, doing = _filter(inbox, job.filter), _DOING[Act(job.act)]
        if chosen.failing:
            count, shown = count_failing(session, chosen) if doing.takes_failing else Count(0), chosen
        else:
            states = _states(doing, chosen)
            found = counts(session, chosen)
            count, shown = total([found[state] for state in states]), replace(chosen, states=states)
        sample = page(session, shown, limit=SAMPLE).rows if count.number else []
        return Plan(job, chosen, sample, count.number, count.capped)


def confirm(inbox: Inbox, number: int, *, actor: str) -> bool:
    """Start what was planned. False when it was started or cancelled before."""
    return _move(inbox, number, {Progress.PLANNED}, Progress.RUNNING, actor)


def cancel(inbox: Inbox, number: int, *, actor: str) -> bool:
    """Stop it. What has been done stays done. False if it had ended before."""
    return _move(inbox, number, {Progress.PLANNED, Progress.RUNNING}, Progress.CANCELLED, actor)


def step(inbox: Inbox) -> bool:
    """Work off one step of one running act that no other worker has at hand. False when there is none.

    Raises SQLAlchemyError; then nothing of the step has happened, and the next one does it.
    """
    running = sa.select(BulkAct).where(BulkAct.state == Progress.RUNNING).order_by(BulkAct.id).limit(1)
    with writing(inbox.engine) as session:
        job = session.scalar(running.with_for_update(skip_locked=True))
        if job is None:
            return False
        before = (job.position_at, job.position_id) if job.position_at and job.position_id else None
        chosen = _filter(inbox, job.filter)
        found = page(session, chosen, before=before, limit=STEP)
        rows = found.rows
        left_alone = Counter(reason for row in rows if (reason := _act_on(session, inbox, job, chosen, row)))
        job.done += len(rows) - left_alone.total()
        job.skipped += left_alone.total()
        job.skipped_because = dict(Counter(job.skipped_because or {}) + left_alone)
        if found.older or rows:
            job.position_at, job.position_id = found.older or (rows[-1].received_at, rows[-1].id)
        else:
            job.state = Progress.DONE
            session.execute(sa.update(BulkAct).where(BulkAct.id == job.id).values(finished_at=inbox.now()))
    return True


def left_alone_by(act: Act, row: Row | StoredEvent, chosen: Filter) -> str | None:
    """Why the act leaves this row of the filter alone, as a reason code. None when it does not.

    Who replays many events does not mean to send every letter again, nor to open what somebody closed.
    """
    doing, state = _DOING[act], State(row.state)
    if act is Act.REPLAY and row.is_follow_up and state is State.PROCESSED and chosen.event_type != row.event_type:
        return "done"
    is_meant = state in _states(doing, chosen) or (doing.takes_failing and chosen.failing and row.is_failing)
    return None if is_meant else str(state.value)


def _states(doing: _Doing, chosen: Filter) -> frozenset[State]:
    """Pending events of a cause are failing."""
    failing = frozenset({State.PENDING}) if doing.takes_failing and chosen.cause else frozenset()
    return (doing.possible | failing) & chosen.states if chosen.states else doing.states | failing


def _act_on(session: Session, inbox: Inbox, job: BulkAct, chosen: Filter, row: Row) -> str | None:
    """None when it is done, or the reason code of what is left alone."""
    act = Act(job.act)
    if left_alone := left_alone_by(act, row, chosen):
        return left_alone
    try:
        with session.begin_nested():
            return _DOING[act].do(session, inbox, job, row.id)
    except (CannotReplay, CannotDismiss) as error:
        return error.reason
    except DBAPIError as error:
        if is_lock_conflict(error) or is_out_of_order(error):
            raise
        log.warning(f"{act}_refused", inbox_id=row.id, error=cause_of(error))
        return "refused"


def _replay(session: Session, inbox: Inbox, job: BulkAct, inbox_id: int) -> str | None:
    reason, since = _reason(job), job.created_at
    result = replay_in(session, inbox, inbox_id, actor=job.created_by, reason=reason, unless_since=since)
    return None if result is Replayed.DUE else result.name.lower()


def _dismiss(session: Session, inbox: Inbox, job: BulkAct, inbox_id: int) -> str | None:
    reason, since = _reason(job), job.created_at
    result = dismiss_in(session, inbox, inbox_id, actor=job.created_by, reason=reason, unless_since=since)
    return None if result is Dismissed.DONE else result.name.lower()


def _reason(job: BulkAct) -> str:
    return f"bulk {job.act} {job.id}" + (f": {job.reason}" if job.reason else "")


_DOING = {
    Act.REPLAY: _Doing(REPLAYABLE - {State.DISMISSED}, REPLAYABLE, takes_failing=True, do=_replay),
    Act.DISMISS: _Doing(DISMISSABLE, DISMISSABLE, takes_failing=False, do=_dismiss),
}


def _move(inbox: Inbox, number: int, origins: set[Progress], to: Progress, actor: str) -> bool:
    finished = inbox.now() if to is Progress.CANCELLED else None
    with writing(inbox.engine) as session:
        moved = session.execute(
            sa.update(BulkAct)
            .where(BulkAct.id == number, BulkAct.state.in_(origins))
            .values(state=to, finished_at=finished)
            .returning(BulkAct.act, BulkAct.filter)
        ).one_or_none()
        if moved is not None:
            words = described(_filter(inbox, moved.filter).parameters(), inbox.settings.showing)
            record(session, inbox, f"bulk {moved.act}", to, actor=actor, detail=f"number {number}: {words}")
    return moved is not None


def _filter(inbox: Inbox, text: str) -> Filter:
    """The filter in the stored text, which has it as an address has it."""
    return Filter.from_parameters(from_address(parse_qs(text), inbox.settings.showing))
