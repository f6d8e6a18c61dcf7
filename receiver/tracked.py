"""The one rule for state that events set: `advance()`. The newest event wins, whatever the order in which events come.

Events arrive in any order and more than once (§6.2, §7.1). So a row remembers the event that set it. The newer event is
the one that occurred later. For the same moment, it is the one with the higher rank, then the one with the greater ID.
"""

from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.orm.util import identity_key

from receiver.database.columns import Base, UtcDateTime
from receiver.database.insert import insert_into, parameters
from receiver.database.sealed_text import sealed_values
from receiver.protocol.envelope import Event
from receiver.registry import PermanentFailure

FUTURE_ALLOWED = timedelta(days=1)
_ORDER = ("occurred_at", "rank", "event_id")


class Tracked:
    """The columns that `advance()` needs. Derive your model from it and from `Base`, and add columns as you like.

    `reference` is the key, such as the transaction ID. `status` is your word for the state. The other columns say which
    event set it.
    """

    reference: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    status: Mapped[str] = mapped_column(sa.String(50))
    rank: Mapped[int] = mapped_column()
    occurred_at: Mapped[datetime] = mapped_column(UtcDateTime)
    event_id: Mapped[str] = mapped_column(sa.String(200))


def advance(
    session: Session, model: type[Base], reference: str | None, *, event: Event, rank: int = 0, **columns: Any
) -> bool:
    """Set the columns that this event reports, unless a newer event has set the row already. Returns whether it did.

    It is one statement. It is safe when events come more than once and in any order. `model` derives from `Tracked`.
    `columns` are columns of the model, with `status`; other columns keep their values. `rank` decides between events of
    the same moment: give final states a higher rank. Raises PermanentFailure when the event has no reference.
    """
    if reference is None:
        raise PermanentFailure(f"{event.type} without the reference that its handler needs")
    session.flush()
    connection = session.connection()
    row = columns | {"reference": reference, "rank": rank, "occurred_at": counted_at(event), "event_id": event.id}
    row = sealed_values(connection, cast(sa.Table, model.__table__), row)
    won = connection.execute(upsert(model, connection.dialect.name, tuple(columns)), row).rowcount == 1
    known = session.identity_map.get(identity_key(model, reference))
    if known is not None:
        session.expire(known)
    return won


@cache
def upsert(model: type[Base], dialect: str, columns: tuple[str, ...]) -> Any:
    """Insert the row, or change it if what is inserted is newer. One row is counted if it did."""
    table: Any = model.__table__
    changed = (*columns, *_ORDER)
    insert = insert_into(table, dialect).values(parameters(table, ("reference", *changed)))
    is_newer = sa.tuple_(*(insert.excluded[name] for name in _ORDER)) > sa.tuple_(*(table.c[name] for name in _ORDER))
    values = {name: insert.excluded[name] for name in changed}
    return insert.inline().on_conflict_do_update(index_elements=["reference"], set_=values, where=is_newer)


def counted_at(event: Event) -> datetime:
    """The moment by which events are compared. It depends on the event alone, so any order ends in the same state.

    An event that is dated in the future had not occurred when it was received. So it counts as of the beginning of the
    day on which it was received, and never blocks a row. Among several of one day, the later date wins: each counts as
    many microseconds into the day as it is hours ahead.
    """
    received_at = event.received_at
    if received_at is None or event.occurred_at - received_at <= FUTURE_ALLOWED:
        return event.occurred_at
    day = received_at.replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(microseconds=(event.occurred_at - day) // timedelta(hours=1))
