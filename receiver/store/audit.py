"""Writes the audit log (§9.1, §9.2). A row is written in the transaction of the act that it records, or on its own.

To record a new kind of act, call `record()` with a new `action`. The table needs no change.

A person's act is also a line in the log, `act`, as soon as it is committed. The owner of the database can drop a table,
but a log that left the machine stays. Deliveries and attempts have lines of their own, and a follow-up is no person's
act: `NO_ACTS` names them.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction

from receiver.database.causes import cause_of
from receiver.database.engine import writing
from receiver.database.insert import parameters
from receiver.database.now import database_now
from receiver.privacy.masking import mask_text
from receiver.store.inbox import Inbox
from receiver.store.models import AuditEntry
from receiver.store.tally import Sums

log = structlog.get_logger()
NO_ACTS = frozenset({"delivery", "attempt", "follow-up"})
"""The actions of rows that have no line `act`."""
_UNSAID = "acts that are not committed yet"
WORKER_LOST = "worker lost"
"""The result of an attempt whose lease ended without an outcome."""
WRONG_PATH = "rejected: wrong_path"
"""The result of a POST to a path that looks like the webhook's. Anybody can send one."""
REFUSED_UNREAD = frozenset({"plain_http", "too_large", "unreadable_body", "overloaded", "refused"})
"""The reasons of deliveries that nobody looked at, by what they end with in a result. All others were answered 401."""


def record(
    session: Session,
    inbox: Inbox,
    action: str,
    result: str,
    *,
    event_id: str | None = None,
    event_type: str | None = None,
    actor: str | None = None,
    request_id: str | None = None,
    duration_ms: int | None = None,
    detail: str | None = None,
    inbox_id: int | None = None,
    occurrences: int = 1,
) -> None:
    """Add one audit row to the session's transaction. `detail` is masked here."""
    row = {
        "action": action,
        "result": result,
        "event_id": event_id,
        "event_type": event_type,
        "actor": actor,
        "request_id": request_id,
        "duration_ms": duration_ms,
        "detail": None if detail is None else mask_text(detail),
        "inbox_id": inbox_id,
        "occurrences": occurrences,
    }
    session.connection().execute(_insert(tuple(row)), row | {"ahead": inbox.clock.offset.total_seconds()})
    if action not in NO_ACTS:
        _say_when_committed(session, {name: value for name, value in row.items() if value is not None})


def record_deliveries(session: Session, inbox: Inbox, result: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add the audit rows of many deliveries with one result, in one go. They have the same columns, and no detail."""
    if not rows:
        return
    same = {"action": "delivery", "result": result, "occurrences": 1}
    ahead = inbox.clock.offset.total_seconds()
    insert = _insert((*same, *rows[0]))
    session.connection().execute(insert, [{**same, **row, "ahead": ahead} for row in rows])


def _say_when_committed(session: Session, act: dict[str, Any]) -> None:
    if _UNSAID not in session.info:
        session.info[_UNSAID] = []
        sa.event.listen(session, "after_commit", _say)
        sa.event.listen(session, "after_soft_rollback", _forget)
    session.info[_UNSAID].append((session.get_nested_transaction(), act))


def _say(session: Session) -> None:
    """SQLAlchemy calls it at the end of a savepoint, too. That is no commit."""
    if session.in_nested_transaction():
        return
    acts, session.info[_UNSAID] = session.info[_UNSAID], []
    for _, act in acts:
        log.info("act", **act)


def _forget(session: Session, ended: SessionTransaction) -> None:
    """What a savepoint took back never happened, nor did anything where the whole transaction was taken back."""
    kept = [(savepoint, act) for savepoint, act in session.info[_UNSAID] if ended.nested and savepoint is not ended]
    session.info[_UNSAID] = kept


@cache
def _insert(columns: tuple[str, ...]) -> sa.Insert:
    """Built once: a handler may ask for a follow-up of each event."""
    table: Any = AuditEntry.__table__
    return sa.insert(table).values(
        parameters(table, columns) | {"at": database_now(sa.bindparam("ahead", type_=sa.Float()))}
    )


def record_rejection(inbox: Inbox, reason: str, request_id: str, detail: str | None = None) -> None:
    """Note a delivery that was refused, and the sums of minutes that are over. Raises SQLAlchemyError."""
    with inbox.tally.finished_sums(inbox.clock.now()) as sums, writing(inbox.engine) as session:
        write_sums(session, inbox, sums)
        record(session, inbox, "delivery", f"rejected: {reason}", request_id=request_id, detail=detail)


def write_finished_sums(inbox: Inbox) -> None:
    """Write the counts of minutes that are over. Best effort: what could not be written is kept for the next time."""
    try:
        with inbox.tally.finished_sums(inbox.clock.now()) as sums:
            if sums:
                with writing(inbox.engine) as session:
                    write_sums(session, inbox, sums)
    except SQLAlchemyError as error:
        log.warning("sums_not_recorded", error=cause_of(error))


def write_remaining_sums(inbox: Inbox) -> None:
    """Write every count that is still in memory, when the process is about to end."""
    try:
        with inbox.tally.all_sums() as sums, writing(inbox.engine) as session:
            write_sums(session, inbox, sums)
    except SQLAlchemyError as error:
        log.warning("sums_not_recorded", error=cause_of(error))


def write_sums(session: Session, inbox: Inbox, sums: Sums) -> None:
    """One row for each count of a minute that is over."""
    for key, occurrences in sums:
        record(
            session,
            inbox,
            key.action,
            key.result,
            event_id=key.event_id,
            event_type=key.event_type,
            occurrences=occurrences,
            detail="summed",
        )
