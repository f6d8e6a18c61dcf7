"""The story of one policy, transaction or claim: its events in the order in which they occurred.

An event is late when a later event was received before it (§6.2 makes that normal). A story is read from its end, so
all later events of the page are known when a row is judged. From other pages two moments are enough, and the place of a
page carries them. To tell another story, add the column to `KINDS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.queries.filters import BadFilter, from_cursor, to_cursor
from receiver.queries.index_pieces import bound_tuple
from receiver.queries.search import COLUMNS, Row
from receiver.store.models import StoredEvent
from receiver.store.shown import Shown

PAGE = 200
KINDS = {
    "policy": StoredEvent.policy_id,
    "transaction": StoredEvent.transaction_id,
    "claim": StoredEvent.claim_id,
}
_PLACE = (StoredEvent.occurred_at, StoredEvent.id)


@dataclass(frozen=True)
class Chapter:
    """One event of a story."""

    row: Row | Shown
    late: bool


@dataclass(frozen=True)
class Place:
    """Behind which row a page of a story ends, and what was received first of all that comes after."""

    occurred_at: datetime
    id: int
    first_together: datetime  # of what occurred at the very same moment
    first_later: datetime | None  # of what occurred later than that

    def __str__(self) -> str:
        """As it stands in an address."""
        later = f"~{to_cursor((self.first_later, 0))}" if self.first_later else ""
        return f"{to_cursor((self.occurred_at, self.id))}~{to_cursor((self.first_together, 0))}{later}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """The other way. Raises BadFilter."""
        parts = text.split("~")
        positions = [from_cursor("~".join(parts[at : at + 2])) for at in range(0, len(parts), 2)]
        if len(positions) not in (2, 3):
            raise BadFilter("cursor")
        return cls(*positions[0], positions[1][0], positions[2][0] if len(positions) == 3 else None)


@dataclass(frozen=True)
class Story:
    """A page of a story, earliest event first; `earlier` is where the page before it ends."""

    chapters: Sequence[Chapter]
    earlier: Place | None


def subject(session: Session, kind: str, reference: str, *, before: Place | None = None, limit: int = PAGE) -> Story:
    """The latest events of a policy, transaction or claim, or those before a place. Raises BadFilter for any other."""
    if kind not in KINDS:
        raise BadFilter("kind")
    statement = sa.select(*COLUMNS).where(KINDS[kind] == reference, StoredEvent.occurred_at.is_not(None))
    if before is not None:
        here = bound_tuple(_PLACE, (before.occurred_at, before.id))
        statement = statement.where(sa.tuple_(*_PLACE) < here)
    latest_first = statement.order_by(StoredEvent.occurred_at.desc(), StoredEvent.id.desc()).limit(limit + 1)
    rows = [Row._make(row) for row in session.execute(latest_first)]
    chapters, place = _judged(rows[:limit], before)
    return Story(chapters[::-1], place if len(rows) > limit else None)


def _judged(rows: Sequence[Row], place: Place | None) -> tuple[list[Chapter], Place | None]:
    """The rows, latest first, and the place behind them."""
    chapters = []
    for row in rows:
        occurred_at = row.occurred_at or row.received_at
        together, later = row.received_at, None
        if place is not None and place.occurred_at == occurred_at:
            together, later = min(together, place.first_together), place.first_later
        elif place is not None:
            later = min(place.first_together, place.first_later or place.first_together)
        chapters.append(Chapter(row, late=later is not None and row.received_at > later))
        place = Place(occurred_at, row.id, together, later)
    return chapters, place
