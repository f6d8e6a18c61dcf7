"""What the audit log says about one event, and about everything that a filter finds. Nothing here writes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.privacy.columns import Showing
from receiver.queries.filters import fits_a_column, row_named
from receiver.store.models import AuditEntry, StoredEvent
from receiver.store.shown import Shown, shown

AUDIT_PAGE = 100
MOST_OF_A_TRAIL = 500
FIRST_OF_A_TRAIL = 100


@dataclass(frozen=True)
class AuditFilter:
    """Which rows of the audit log; the default means all of them."""

    event_id: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Trail:
    """The audit rows of an event, oldest first. The middle of a very long trail is left out."""

    first: Sequence[AuditEntry | Shown]
    left_out: int = 0
    latest: Sequence[AuditEntry | Shown] = ()

    def __iter__(self) -> Iterator[AuditEntry | Shown]:
        return chain(self.first, self.latest)

    def shown(self, showing: Showing) -> "Trail":
        """The same rows as people see them."""
        first, latest = ([shown(entry, showing) for entry in entries] for entries in (self.first, self.latest))
        return Trail(first, self.left_out, latest)

    def lines(self, line: Callable[[Any], str]) -> list[str]:
        """As text, with a word about what is left out."""
        gap = [f"({self.left_out:,} entries in between are left out)"] if self.left_out else []
        return [*map(line, self.first), *gap, *map(line, self.latest)]


def find_event(session: Session, reference: str) -> StoredEvent | None:
    """The event with this ID, which may look like `#12`. Else the row of this number: a quarantined body has no ID."""
    if not fits_a_column(reference):
        return None
    found = session.scalar(sa.select(StoredEvent).where(StoredEvent.event_id == reference))
    number = row_named(reference)
    return session.get(StoredEvent, number) if found is None and number else found


def audit_trail(session: Session, row: StoredEvent) -> Trail:
    """What was recorded of this row."""
    of_row = sa.select(AuditEntry.id).where(AuditEntry.inbox_id == row.id)
    event_id = row.event_id or row.stated_event_id
    found = (sa.union(of_row, *_entries_of(event_id)) if event_id else of_row).subquery()
    entries = sa.select(AuditEntry).where(AuditEntry.id.in_(sa.select(found.c.id)))
    first = session.scalars(entries.order_by(AuditEntry.id).limit(MOST_OF_A_TRAIL + 1)).all()
    if len(first) <= MOST_OF_A_TRAIL:
        return Trail(first)
    number = session.scalar(sa.select(sa.func.count()).select_from(found)) or 0
    latest = session.scalars(entries.order_by(AuditEntry.id.desc()).limit(MOST_OF_A_TRAIL - FIRST_OF_A_TRAIL)).all()
    return Trail(first[:FIRST_OF_A_TRAIL], number - MOST_OF_A_TRAIL, latest[::-1])


def _entries_of(event_id: str) -> list[sa.Select[int]]:
    """The audit rows of an event: by the numbers of its rows, the quarantined too; sums have only its ID."""
    either = (StoredEvent.event_id == event_id) | (StoredEvent.stated_event_id == event_id)
    rows = sa.select(StoredEvent.id).where(either)
    return [
        sa.select(AuditEntry.id).where(AuditEntry.inbox_id.in_(rows)),
        sa.select(AuditEntry.id).where(AuditEntry.inbox_id.is_(None), AuditEntry.event_id == event_id),
    ]


def list_audit(
    session: Session, chosen: AuditFilter, *, before: tuple[datetime, int] | None = None, limit: int = AUDIT_PAGE
) -> Sequence[AuditEntry]:
    """Newest first; `before` is the (at, id) of the last row of the page above."""
    statement = sa.select(AuditEntry).order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
    if chosen.event_id and not chosen.event_id.isprintable():
        return []  # no ID has this, and no database takes it
    if chosen.event_id:
        statement = statement.where(AuditEntry.id.in_(sa.union(*_entries_of(chosen.event_id))))
    if chosen.action:
        statement = statement.where(AuditEntry.action == chosen.action)
        if chosen.action not in (
            "delivery",
            "attempt",
        ):  # the condition of the partial index, word for word
            statement = statement.where(sa.text("action NOT IN ('delivery', 'attempt')"))
    if chosen.since:
        statement = statement.where(AuditEntry.at >= chosen.since)
    if chosen.until:
        statement = statement.where(AuditEntry.at < chosen.until)
    if before:
        statement = statement.where(sa.tuple_(AuditEntry.at, AuditEntry.id) < sa.tuple_(*_bound(before)))
    return session.scalars(statement.limit(limit)).all()


def _bound(before: tuple[datetime, int]) -> tuple[sa.ColumnElement[datetime], sa.ColumnElement[int]]:
    return (
        sa.bindparam(None, before[0], StoredEvent.received_at.type, unique=True),
        sa.bindparam(None, before[1], sa.BigInteger(), unique=True),
    )
