"""Replays everything that a filter finds: a person plans and confirms it, then a worker does it in small steps.

    planned ── confirm ──▶ running ── nothing left ──▶ done
       └──────── cancel ──────┴──▶ cancelled

A plan counts and shows before anything happens. Confirming it twice starts it once. An event that was replayed after
the plan was made is skipped, so two operators at once make one replay.

A step is one transaction, which locks the row of its bulk replay. So two workers never take the same step, and a step
that a crash cuts off has changed nothing. Skipped events are counted by their reason code. To add a reason, add a line
to `LEFT_ALONE`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import parse_qs, urlencode

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from receiver.actions.replay import CannotReplay, Replayed, replay_in
from receiver.database.causes import cause_of, is_lock_conflict, is_out_of_order
from receiver.database.engine import reading, writing
from receiver.privacy.masking import mask_text
from receiver.queries.count import total
from receiver.queries.filters import Filter, described, from_address, in_address
from receiver.queries.search import Row, count_failing, counts, page
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import REPLAYABLE, State
from receiver.store.models import BulkReplay, StoredEvent

log = structlog.get_logger()

STEP = 100
SAMPLE = 10
LEFT_ALONE = {
    "pending": "pending already",
    "done": "a follow-up that was done: filter by its type to do it again",
    "replayed": "replayed since this was planned",
    "duplicate": "another delivery of the same event is kept",
    "not_found": "gone since",
    "erased": "retention has erased the payload",
    "unreadable": "no key opens the payload",
    "unusable": "the payload does not parse",
    "id_reused": "the event ID belongs to another body",
    "refused": "the database refused it",
}
"""Reason codes, and what a person reads."""


def is_left_alone(row: Row | StoredEvent, chosen: Filter) -> bool:
    """Whether it is a follow-up that was done. Who replays many events does not mean to send every letter again."""
    is_done = row.is_follow_up and row.state == State.PROCESSED
    return is_done and chosen.event_type != row.event_type


class Progress(StrEnum):
    """The states of a bulk replay."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Plan:
    """What would be replayed."""

    replay: BulkReplay
    chosen: Filter
    sample: Sequence[Row]
    count: int
    capped: bool  # the count stops at the cap of search.counts()


def plan(inbox: Inbox, chosen: Filter, *, actor: str, reason: str | None) -> int:
    """Store a plan for these events, and return its number. Nothing is replayed before it is confirmed."""
    with writing(inbox.engine) as session:
        inserted = session.scalar(
            sa.insert(BulkReplay)
            .values(
                created_at=inbox.now(), created_by=actor, reason=reason and mask_text(reason),
                filter=urlencode(in_address(chosen.parameters(), inbox.settings.showing), doseq=True),
                state=Progress.PLANNED, replayed=0, skipped=0,
            )
            .returning(BulkReplay.id)
        )  # fmt: skip
    return int(inserted or 0)


def look(inbox: Inbox, number: int) -> Plan | None:
    """The bulk replay of this number, with a count and a sample of what it would replay now."""
    with reading(inbox.engine) as session:
        job = session.get(BulkReplay, number)
        if job is None:
            return None
        chosen = _filter(inbox, job.filter)
        if chosen.failing:
            count, shown = count_failing(session, chosen), chosen
        else:
            states = REPLAYABLE & (chosen.states or REPLAYABLE)
            found = counts(session, chosen)
            count, shown = total([found[state] for state in states]), replace(chosen, states=states)
        sample = page(session, shown, limit=SAMPLE).rows if count.number else []
        return Plan(job, chosen, sample, count.number, count.capped)


def confirm(inbox: Inbox, number: int, *, actor: str) -> bool:
    """Start a planned replay. False when it was started or cancelled before."""
    return _move(inbox, number, {Progress.PLANNED}, Progress.RUNNING, actor)


def cancel(inbox: Inbox, number: int, *, actor: str) -> bool:
    """Stop it. What has been replayed stays replayed. False if it had ended before."""
    return _move(inbox, number, {Progress.PLANNED, Progress.RUNNING}, Progress.CANCELLED, actor)


def step(inbox: Inbox) -> bool:
    """Work off one step of one running replay that no other worker has at hand. False when there is none.

    Raises SQLAlchemyError; then nothing of the step has happened, and the next one does it.
    """
    running = sa.select(BulkReplay).where(BulkReplay.state == Progress.RUNNING).order_by(BulkReplay.id).limit(1)
    with writing(inbox.engine) as session:
        job = session.scalar(running.with_for_update(skip_locked=True))
        if job is None:
            return False
        before = (job.position_at, job.position_id) if job.position_at and job.position_id else None
        chosen = _filter(inbox, job.filter)
        rows = page(session, chosen, before=before, limit=STEP).rows
        meant = [row for row in rows if row.state in REPLAYABLE or (chosen.failing and row.is_failing)]
        left_alone = Counter(reason for row in meant if (reason := _replay_one(session, inbox, job, chosen, row)))
        left_alone["pending"] += len(rows) - len(meant)
        job.replayed += len(rows) - left_alone.total()
        job.skipped += left_alone.total()
        job.skipped_because = dict(Counter(job.skipped_because or {}) + left_alone)
        if rows:
            job.position_at, job.position_id = rows[-1].received_at, rows[-1].id
        else:
            job.state = Progress.DONE
            session.execute(sa.update(BulkReplay).where(BulkReplay.id == job.id).values(finished_at=inbox.now()))
    return True


def _replay_one(session: Session, inbox: Inbox, job: BulkReplay, chosen: Filter, row: Row) -> str | None:
    """None when it is due again, or the reason code of what is left alone."""
    if is_left_alone(row, chosen):
        return "done"
    reason = f"bulk replay {job.id}" + (f": {job.reason}" if job.reason else "")
    try:
        with session.begin_nested():
            result = replay_in(session, inbox, row.id, actor=job.created_by, reason=reason, unless_since=job.created_at)
    except CannotReplay as error:
        return error.reason
    except DBAPIError as error:
        if is_lock_conflict(error) or is_out_of_order(error):
            raise
        log.warning("replay_refused", inbox_id=row.id, error=cause_of(error))
        return "refused"
    return None if result is Replayed.DUE else result.name.lower()


def _move(inbox: Inbox, number: int, origins: set[Progress], to: Progress, actor: str) -> bool:
    finished = inbox.now() if to is Progress.CANCELLED else None
    with writing(inbox.engine) as session:
        moved = session.scalar(
            sa.update(BulkReplay)
            .where(BulkReplay.id == number, BulkReplay.state.in_(origins))
            .values(state=to, finished_at=finished)
            .returning(BulkReplay.filter)
        )
        if moved is not None:
            words = described(_filter(inbox, moved).parameters(), inbox.settings.showing)
            record(session, inbox, "bulk replay", to, actor=actor, detail=f"number {number}: {words}")
    return moved is not None


def _filter(inbox: Inbox, text: str) -> Filter:
    """The filter in the stored text, which has it as an address has it."""
    return Filter.from_parameters(from_address(parse_qs(text), inbox.settings.showing))
