"""Sums the audit log by the hour, each row exactly once, so that no page has to count it.

A worker does it every ten seconds. It writes the sums, and the number of the last row that they include, in one
transaction, which locks the only row of `summed_until`. So two workers never count the same rows, and a worker that
dies has counted nothing. `_results()` decides what is counted, and attempt_sums.py what is counted of attempts by their
type. receiver/queries/overview.py decides what a person sees of it.
"""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.columns import UtcDateTime
from receiver.database.engine import reading, writing
from receiver.database.insert import insert_into
from receiver.maintenance.attempt_sums import add_attempts
from receiver.store.audit import WRONG_PATH
from receiver.store.inbox import Inbox
from receiver.store.models import AuditEntry, HourlySum, SummedUntil
from receiver.store.row_horizon import row_horizon

INTERVAL = timedelta(seconds=10)
BATCH = 20_000
MOST_BATCHES = 10  # a worker has events to process, too
PATIENCE_SECONDS = 1.0
Select = sa.Select[*tuple[Any, ...]]
SUMMED = ("delivery", "attempt", "follow-up")
"""The actions whose results are summed."""

_DELIVERED = (AuditEntry.action == "delivery") & (AuditEntry.result != WRONG_PATH)
_ANSWERED = _DELIVERED & AuditEntry.detail.is_distinct_from("summed")  # those are of before
_FAILED = AuditEntry.result.like("rejected: %") | (AuditEntry.result == "quarantined: stale")  # not answered 200


def roll_up_if_due(inbox: Inbox) -> int:
    """Sum the new rows of the audit log, unless a worker has just done so. Returns how many row numbers were passed."""
    now = inbox.clock.now()
    with reading(inbox.engine) as session:
        turn_at = session.scalar(sa.select(SummedUntil.turn_at))
    if turn_at is not None and abs(now - turn_at) < INTERVAL:
        return 0
    try:
        newest = row_horizon(inbox, AuditEntry, patience=PATIENCE_SECONDS)
    except TimeoutError:
        return 0
    passed = 0
    for _ in range(MOST_BATCHES):
        batch = _sum_batch(inbox, newest, now)
        passed += batch
        if batch < BATCH:
            break
    return passed


def _sum_batch(inbox: Inbox, newest: int, now: datetime) -> int:
    """Sum the next rows up to `newest`, the horizon at `now`."""
    with writing(inbox.engine) as session:
        until = session.scalar(sa.select(SummedUntil).with_for_update(skip_locked=True))
        if until is None:
            return 0
        last = max(until.audit_id, min(until.audit_id + BATCH, newest))
        rows = (AuditEntry.id > until.audit_id) & (AuditEntry.id <= last)
        _add(session, _results(session, rows))
        add_attempts(session, rows, _hour(session))
        _note_answers(session, until, rows)
        until.as_of = now if last >= newest else _moment_of(session, last)
        passed, until.audit_id, until.turn_at = last - until.audit_id, last, now
    return passed


def _results(session: Session, rows: sa.ColumnElement[bool]) -> Select:
    occurrences = sa.func.sum(AuditEntry.occurrences)
    columns = (_hour(session), AuditEntry.action, AuditEntry.result, occurrences)
    return sa.select(*columns).where(rows, AuditEntry.action.in_(SUMMED)).group_by(sa.text("1, 2, 3"))


def _add(session: Session, sums: Select) -> None:
    insert = insert_into(HourlySum, session.get_bind().dialect.name)
    insert = insert.from_select(["hour", "kind", "name", "occurrences"], sums)
    total = HourlySum.occurrences + insert.excluded.occurrences
    session.execute(insert.on_conflict_do_update(index_elements=["hour", "kind", "name"], set_={"occurrences": total}))


def _note_answers(session: Session, until: SummedUntil, rows: sa.ColumnElement[bool]) -> None:
    """How many answers have failed since the last good one, at least. What the tally summed up is left out.

    Nobody knows whether it came before that good answer or after it.
    """
    good = rows & _ANSWERED & ~_FAILED
    latest = sa.select(AuditEntry.id, AuditEntry.at).where(good).order_by(AuditEntry.id.desc()).limit(1)
    found = session.execute(latest).one_or_none()
    if found is not None:
        until.failed_in_a_row, until.last_good_at = 0, found.at
    since = rows & _ANSWERED & _FAILED & (AuditEntry.id > (found.id if found else 0))
    until.failed_in_a_row += session.scalar(sa.select(sa.func.count()).select_from(AuditEntry).where(since)) or 0


def _moment_of(session: Session, audit_id: int) -> datetime | None:
    latest = sa.select(AuditEntry.at).where(AuditEntry.id <= audit_id).order_by(AuditEntry.id.desc()).limit(1)
    return session.scalar(latest)


def _hour(session: Session) -> sa.ColumnElement[Any]:
    """The hour of an audit row, in UTC, as it is stored."""
    if session.get_bind().dialect.name == "postgresql":
        return sa.func.date_trunc("hour", AuditEntry.at, type_=UtcDateTime())
    return sa.func.strftime("%Y-%m-%d %H:00:00.000000", AuditEntry.at, type_=UtcDateTime())
