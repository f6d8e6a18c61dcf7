"""Replays everything that a filter finds: planned, confirmed, then worked off by a worker in small steps.

    planned ── confirm ──▶ running ── nothing left ──▶ done
       └──────── cancel ──────┴──▶ cancelled

A plan counts and shows before anything happens. Confirming it twice starts it once. An event that was replayed after
the plan was made is left alone, so two operators at once, or a step that a crash repeats, make one replay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, urlencode

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.database import reading, writing
from app.inbox.audit import record
from app.inbox.context import Inbox
from app.inbox.filters import BadFilter as BadFilter
from app.inbox.filters import Filter
from app.inbox.lifecycle import REPLAYABLE
from app.inbox.models import BulkReplay
from app.inbox.replay import CannotReplay, replay
from app.inbox.search import Row, counts, page

STEP = 100
SAMPLE = 10


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
    sample: Sequence[Row]
    count: int
    capped: bool  # the count stops at the cap of search.counts()


def plan(inbox: Inbox, chosen: Filter, *, actor: str, reason: str | None) -> int:
    """Note a plan for these events. Nothing is replayed before it is confirmed. Returns its number."""
    with writing(inbox.engine) as session:
        inserted = session.scalar(
            sa.insert(BulkReplay)
            .values(
                created_at=inbox.now(), created_by=actor, reason=reason,
                filter=urlencode(chosen.parameters(), doseq=True), state=Progress.PLANNED, replayed=0, skipped=0,
            )
            .returning(BulkReplay.id)
        )  # fmt: skip
    return int(inserted or 0)


def look(inbox: Inbox, number: int) -> Plan | None:
    """The bulk replay of this number, with a count and a sample of what its filter finds now."""
    with reading(inbox.engine) as session:
        job = session.get(BulkReplay, number)
        if job is None:
            return None
        chosen = Filter.from_parameters(parse_qs(job.filter))
        found = counts(session, chosen)
        count = sum(found[state].number for state in REPLAYABLE)
        capped = any(found[state].capped for state in REPLAYABLE)
        return Plan(job, page(session, chosen, limit=SAMPLE).rows, count, capped)


def confirm(inbox: Inbox, number: int, *, actor: str) -> bool:
    """Start a planned replay. False when it was started or cancelled before."""
    return _move(inbox, number, {Progress.PLANNED}, Progress.RUNNING, actor)


def cancel(inbox: Inbox, number: int, *, actor: str) -> bool:
    """Stop it. What was replayed already stays so. False when it had ended before."""
    return _move(inbox, number, {Progress.PLANNED, Progress.RUNNING}, Progress.CANCELLED, actor)


def step(inbox: Inbox) -> bool:
    """Work off one step of one running replay. False when there is none."""
    with reading(inbox.engine) as session:
        job = session.scalar(sa.select(BulkReplay).where(BulkReplay.state == Progress.RUNNING).limit(1))
        if job is None:
            return False
        before = (job.position_at, job.position_id) if job.position_at and job.position_id else None
        rows = page(session, Filter.from_parameters(parse_qs(job.filter)), before=before, limit=STEP).rows
    results = [_replay_one(inbox, job, row) for row in rows]
    with writing(inbox.engine) as session:
        _note_step(session, inbox, job, rows, results.count(True))
    return True


def _replay_one(inbox: Inbox, job: BulkReplay, row: Row) -> bool:
    if row.state not in REPLAYABLE:
        return False
    try:
        actor, reason = job.created_by, f"bulk replay {job.id}" + (f": {job.reason}" if job.reason else "")
        return replay(inbox, row.id, actor=actor, reason=reason, unless_since=job.created_at) == "due again"
    except CannotReplay:
        return False


def _note_step(session: Session, inbox: Inbox, job: BulkReplay, rows: Sequence[Row], replayed: int) -> None:
    """Move on; only from where this step began, since another worker may have done the same step."""
    same = BulkReplay.position_id.is_(None) if job.position_id is None else BulkReplay.position_id == job.position_id
    values: dict[str, Any] = {
        "replayed": BulkReplay.replayed + replayed,
        "skipped": BulkReplay.skipped + len(rows) - replayed,
    }
    if rows:
        values |= {"position_at": rows[-1].received_at, "position_id": rows[-1].id}
    else:
        values |= {"state": Progress.DONE, "finished_at": inbox.now()}
    session.execute(
        sa.update(BulkReplay).where(BulkReplay.id == job.id, BulkReplay.state == Progress.RUNNING, same).values(values)
    )


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
            record(session, inbox, "bulk replay", to, actor=actor, detail=f"number {number}: {moved or 'everything'}")
    return moved is not None
