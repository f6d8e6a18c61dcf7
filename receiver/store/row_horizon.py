"""The row horizon of a table: the row number up to which no more rows can appear.

On PostgreSQL, a row gets its number before it is committed. So row 7 may be visible before row 6, and a reader that
continues after 7 never sees 6. A transaction that took a lower number holds a lock on the table until it ends. So
`row_horizon()` waits for all transactions that hold such a lock now. SQLite has one writer at a time, so it has no such
gap. It works for every table with numbered rows.
"""

import time

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.engine import reading
from receiver.store.inbox import Inbox
from receiver.store.models import AuditEntry, StoredEvent

LOOK_AGAIN_SECONDS = 0.02
_WRITERS = sa.text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted"
    " AND relation = CAST(:table AS regclass)"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def row_horizon(
    inbox: Inbox, table: type[StoredEvent] | type[AuditEntry] = StoredEvent, *, patience: float | None = None
) -> int:
    """The number of the newest row, once all rows below it are visible. 0 if there is no row.

    Raises TimeoutError when a transaction is not over after `patience` seconds.
    """
    ends_at = None if patience is None else time.monotonic() + patience
    with reading(inbox.engine) as session:
        newest = session.scalar(sa.select(sa.func.max(table.id))) or 0
        writers = _writers(session, table.__tablename__)
        while writers & _writers(session, table.__tablename__):
            if ends_at is not None and time.monotonic() > ends_at:
                raise TimeoutError
            time.sleep(LOOK_AGAIN_SECONDS)
    return newest


def _writers(session: Session, table: str) -> set[str]:
    """The transactions that may have taken a row number and are not over."""
    if session.get_bind().dialect.name != "postgresql":
        return set()
    return set(session.scalars(_WRITERS, {"table": table}))
