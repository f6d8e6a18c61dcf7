"""Finds events, page by page, at a price that does not grow with their number. Nothing here writes.

Pages go by the position of a row, (received_at, id), never by a number of rows to leave out: so rows of the same
microsecond are neither lost nor repeated, and the last page costs what the first does. How a filter finds its rows in
the indexes is receiver/queries/index_pieces.py; to show another column in lists, add it to `Row`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from receiver.database.engine import reading
from receiver.queries.count import COUNT_CAP, Count
from receiver.queries.filters import Filter, Position
from receiver.queries.index_pieces import (
    counted,
    failing_branch,
    in_order,
    is_capped,
    last_looked_at,
    matching,
    nearest,
    sifted,
    state_branches,
)
from receiver.store.lifecycle import State
from receiver.store.models import StoredEvent

PAGE = 50
MOST_FOLLOW_UPS = 50
BATCH = 1000


class Row(NamedTuple):
    """What a list shows of an event: no payload, neither sealed nor masked."""

    id: int
    event_id: str | None
    stated_event_id: str | None
    event_type: str | None
    occurred_at: datetime | None
    received_at: datetime
    transaction_id: str | None
    policy_id: str | None
    claim_id: str | None
    reported_status: str | None
    environment: str
    state: str
    quarantine_reason: str | None
    attempts: int
    due_at: datetime | None
    finished_at: datetime | None
    deliveries: int
    id_reused: bool
    last_error: str | None  # masked
    failing_since: datetime | None
    cause: str | None  # of a failure: its fingerprint
    caused_by: int | None  # a follow-up: the row whose handler asked for it

    @property
    def is_failing(self) -> bool:
        """Whether its last attempt ended without success, and it is to be tried again."""
        return self.state == State.PENDING and self.last_error is not None

    @property
    def is_follow_up(self) -> bool:
        """Whether a handler of ours asked for it."""
        return self.caused_by is not None


COLUMNS = tuple(getattr(StoredEvent, name) for name in Row._fields)


@dataclass(frozen=True)
class Page:
    """Rows, newest first, and where to go from here: `older` is a `before`, `newer` is an `after`."""

    rows: Sequence[Row]
    older: Position | None
    newer: Position | None
    capped: bool  # more IDs begin with the term than were looked at: a longer one finds what is missing
    sifted: bool = False  # there are more rows than were looked at: the next page looks further


@dataclass(frozen=True)
class Neighbours:
    """The rows on either side, in the order of the pages: the previous one is newer."""

    previous: Row | None
    next: Row | None


def page(
    session: Session,
    wanted: Filter,
    *,
    before: Position | None = None,
    after: Position | None = None,
    limit: int = PAGE,
) -> Page:
    """The newest events; or the next older ones than `before`, or the next newer ones than `after`."""
    rows = _rows(session, wanted, before, after, limit + 1)
    more, rows = len(rows) > limit, rows[:limit]
    beyond = None if more else last_looked_at(session, wanted, before, after)
    if after:
        rows.reverse()
    return Page(
        rows=rows,
        older=(_position(rows[-1]) if rows and (more or after) else None) or (None if after else beyond),
        newer=(_position(rows[0]) if rows and (before or (after and more)) else None) or (beyond if after else None),
        capped=is_capped(session, wanted),
        sifted=beyond is not None,
    )


def neighbours(session: Session, row: Row | StoredEvent, wanted: Filter) -> Neighbours:
    """The filter's events on either side of this one, which need not be among them."""
    newer = _rows(session, wanted, None, _position(row), 1)
    older = _rows(session, wanted, _position(row), None, 1)
    return Neighbours(newer[0] if newer else None, older[0] if older else None)


def counts(session: Session, wanted: Filter) -> dict[State, Count]:
    """How many events each state has under the filter, whichever states it names itself."""
    if wanted.term is not None:
        return _term_counts(session, wanted)
    low, high = wanted.bounds()
    branches = [found.with_only_columns(StoredEvent.id) for found in state_branches(wanted, State, low, high)]
    looked_at = [found.limit(COUNT_CAP + 1).subquery() for found in branches]
    numbers = [_number_of(rows) for rows in looked_at]
    if wanted.is_sifted:
        numbers += [_number_of(sifted(wanted, rows).subquery()) for rows in looked_at]
    found = list(session.execute(sa.select(*numbers)).one())
    each = zip(State, found, found[-len(State) :], strict=False)
    return {state: Count(min(number, COUNT_CAP), seen > COUNT_CAP) for state, seen, number in each}


def count_failing(session: Session, wanted: Filter) -> Count:
    """How many events fail and are tried again under the filter, whichever states it names itself."""
    low, high = wanted.bounds()
    if wanted.term is None:
        rows = failing_branch(wanted, low, high)
    else:
        rows = matching(session, replace(wanted, failing=True), (), low, high)
    return counted(session, rows)


def stream(engine: Engine, wanted: Filter) -> Iterator[Row]:
    """Every event that `page()` would show on its pages, newest first.

    Each batch is a transaction of its own, so a slow reader holds no transaction open.
    """
    before: Position | None = None
    while True:
        with reading(engine) as session:
            found = page(session, wanted, before=before, limit=BATCH)
        yield from found.rows
        if found.older is None:
            return
        before = found.older


def _number_of(rows: sa.Subquery) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(rows).scalar_subquery()


def _term_counts(session: Session, wanted: Filter) -> dict[State, Count]:
    found = matching(session, replace(wanted, failing=False), State, *wanted.bounds()).subquery()
    by_state = sa.select(found.c.state, sa.func.count()).group_by(found.c.state)
    numbers: dict[str, int] = dict(iter(session.execute(by_state)))
    capped = is_capped(session, wanted)
    return {state: Count(numbers.get(state, 0), capped) for state in State}


def _rows(session: Session, wanted: Filter, before: Position | None, after: Position | None, limit: int) -> list[Row]:
    if before and after:
        raise ValueError("a page lies before one row or after another")
    found = nearest(session, wanted, before, after, limit)
    statement = sa.select(*COLUMNS).select_from(found).join(StoredEvent, StoredEvent.id == found.c.id)
    return [Row._make(row) for row in session.execute(in_order(statement, found.c, down=after is None))]


def _position(row: Row | StoredEvent) -> Position:
    return row.received_at, row.id


def follow_ups_of(session: Session, inbox_id: int) -> list[Row]:
    """What the handler of this event asked for, the first ones first."""
    asked = sa.select(*COLUMNS).where(StoredEvent.caused_by == inbox_id).order_by(StoredEvent.id)
    return [Row(*found) for found in session.execute(asked.limit(MOST_FOLLOW_UPS))]
