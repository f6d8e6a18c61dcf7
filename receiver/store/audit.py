"""Writes the audit log (§9.1, §9.2). A row is written in the transaction of the act that it records, or on its own.

To record a new kind of act, call `record()` with a new `action`. The table needs no change.
"""

from functools import cache
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from receiver.database.causes import cause_of
from receiver.database.engine import writing
from receiver.database.insert import parameters
from receiver.database.now import database_now
from receiver.privacy.masking import mask_text
from receiver.store.inbox import Inbox
from receiver.store.models import AuditEntry
from receiver.store.tally import Sums

log = structlog.get_logger()
WRONG_PATH = "rejected: wrong_path"
"""The result of a POST to a path that looks like the webhook's. Anybody can send one."""


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
