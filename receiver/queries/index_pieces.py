"""How a filter is answered from indexes: by branches, each of which reads one piece of one index, in its order.

A filter without a term has a branch for each state that it names. A term has two branches for each column that may hold
it: rows that are equal to it, and rows that begin with it. Each reads at most CANDIDATES rows, or a term of two letters
would read everything. A hidden value is never found by its beginning, or people could guess it letter by letter.

A branch bounds and orders its rows by all the columns of its index together, never by `state = …`: then no other
index serves the order, and PostgreSQL can't choose one whose rows it would have to sift.

No index has how many attempts an event had, for it would change with every lease, nor where the event comes from. A
filter that asks for it looks at the newest `SIFTED` rows that the rest of it finds. The next page looks further.

To search another column: an index like `ix_events_policy`, and the column's name in `SEARCHED`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.privacy.columns import is_shown
from receiver.queries.count import COUNT_CAP, Count
from receiver.queries.filters import Filter, Origin, Position, row_named
from receiver.store.lifecycle import State
from receiver.store.models import StoredEvent

CANDIDATES = 1000
SIFTED = 10_000
SEARCHED = ("event_id", "stated_event_id", "transaction_id", "policy_id", "claim_id")
Statement = sa.Select[*tuple[Any, ...]]

FAILING = sa.text("events.state = 'pending' AND events.last_error IS NOT NULL")
"""In so many words, so that the partial index `ix_events_failing` serves it."""
CAUSED = sa.text("events.cause IS NOT NULL")
"""The same for the index `ix_events_cause`."""
_LAST = "\U0010ffff"  # what begins with a term is smaller than the term with this behind it
_FOUND = (StoredEvent.id, StoredEvent.received_at, StoredEvent.state, StoredEvent.event_type)


def nearest(
    session: Session, wanted: Filter, before: Position | None, after: Position | None, limit: int
) -> sa.Subquery:
    """The filter's rows from `before` to older ones, or from `after` to newer ones, without what a list shows."""
    down = after is None
    if not wanted.is_sifted:
        return _looked_at(session, wanted, before, after, limit)
    rows = _looked_at(session, wanted, before, after, SIFTED)
    return in_order(sifted(wanted, rows), rows.c, down=down).limit(limit).subquery()


def last_looked_at(
    session: Session, wanted: Filter, before: Position | None, after: Position | None
) -> Position | None:
    """Where a filter that sifts has stopped to look. None when it has seen every row."""
    if not wanted.is_sifted:
        return None
    rows = _looked_at(session, wanted, before, after, SIFTED)
    last = in_order(sa.select(rows.c.received_at, rows.c.id), rows.c, down=after is None).offset(SIFTED - 1).limit(1)
    found = session.execute(last).one_or_none()
    return None if found is None else (found[0], found[1])


def sifted(wanted: Filter, rows: sa.Subquery) -> Statement:
    """Those of these rows that are what no index could tell."""
    statement: Statement = sa.select(rows)
    return statement.join(StoredEvent, StoredEvent.id == rows.c.id).where(*_sieve(wanted))


def _sieve(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    held = []
    if wanted.attempts is not None:
        held.append(StoredEvent.attempts >= wanted.attempts)
    if wanted.origin is not None:
        is_delivery = wanted.origin is Origin.DELIVERY
        held.append(StoredEvent.caused_by.is_(None) if is_delivery else StoredEvent.caused_by.is_not(None))
    return held


def _looked_at(
    session: Session, wanted: Filter, before: Position | None, after: Position | None, limit: int
) -> sa.Subquery:
    """The first rows that the indexes find, in the order of the pages."""
    low, high = wanted.bounds(before, after)
    down = after is None
    if wanted.term is None and wanted.failing:
        found = failing_branch(wanted, low, high, down=down)
    elif wanted.term is None:
        branches = [found.limit(limit) for found in state_branches(wanted, wanted.states, low, high, down=down)]
        found = sa.select(sa.union_all(*_wrapped(branches)).subquery())
    else:
        found = matching(session, wanted, wanted.states, low, high)
    return in_order(found, found.selected_columns, down=down).limit(limit).subquery()


def in_order(statement: Statement, columns: Any, *, down: bool) -> Statement:
    """By the order of the pages, down to older rows or up to newer ones."""
    order = (columns.received_at, columns.id)
    return statement.order_by(*(column.desc() if down else column for column in order))


def state_branches(
    wanted: Filter, states: Iterable[State], low: Position | None, high: Position | None, *, down: bool = True
) -> list[Statement]:
    """A branch for each state; one for all of them where none is named and the filter needs none."""
    branches = [branch(key, low, high, down=down) for key in _keys(wanted, states)]
    if wanted.cause is not None and wanted.event_type is not None:  # the events of a cause have one type
        return [found.where(StoredEvent.event_type == wanted.event_type) for found in branches]
    return branches


def _keys(wanted: Filter, states: Iterable[State]) -> list[dict[str, str]]:
    """For each branch the columns that lead its index, and what stands in them."""
    if wanted.cause is not None:
        return [{"cause": wanted.cause, "state": state} for state in list(states) or State]
    if wanted.event_type is not None:
        return [{"event_type": wanted.event_type, "state": state} for state in list(states) or State]
    return [{"state": state} for state in states] or [{}]


def branch(key: dict[str, str], low: Position | None, high: Position | None, *, down: bool = True) -> Statement:
    """The rows between two positions in one piece of the index on (key, received_at, id)."""
    columns = [getattr(StoredEvent, name) for name in (*key, "received_at", "id")]
    leading, values = columns[: len(key)], tuple(key.values())
    statement: Statement = sa.select(*_FOUND).order_by(*(column.desc() if down else column for column in columns))
    if "cause" in key:
        statement = statement.where(CAUSED).with_hint(StoredEvent, "INDEXED BY ix_events_cause", "sqlite")
    if low is not None:
        statement = statement.where(sa.tuple_(*columns) > bound_tuple(columns, values + low))
    elif key:
        statement = statement.where(sa.tuple_(*leading) >= bound_tuple(leading, values))
    if high is not None:
        statement = statement.where(sa.tuple_(*columns) < bound_tuple(columns, values + high))
    elif key:
        statement = statement.where(sa.tuple_(*leading) <= bound_tuple(leading, values))
    return statement


def failing_branch(wanted: Filter, low: Position | None, high: Position | None, *, down: bool = True) -> Statement:
    """The rows between two positions that fail and are tried again. They are few, and an index has no other rows."""
    statement = branch({}, low, high, down=down).where(FAILING)
    if wanted.event_type is not None:
        statement = statement.where(StoredEvent.event_type == wanted.event_type)
    if wanted.cause is not None:
        statement = statement.where(StoredEvent.cause == wanted.cause)
    statement = statement.where(*_sieve(wanted))
    return statement.with_hint(StoredEvent, "INDEXED BY ix_events_failing", "sqlite")


def matching(
    session: Session, wanted: Filter, states: Iterable[State], low: Position | None, high: Position | None
) -> Statement:
    """The term's candidates that meet the rest of the filter."""
    found = sa.union(*_wrapped(_visible_branches(session, wanted.term or ""))).subquery()
    place = (found.c.received_at, found.c.id)
    statement: Statement = sa.select(found)
    if named := list(states):
        statement = statement.where(found.c.state.in_(named))
    if wanted.event_type is not None:
        statement = statement.where(found.c.event_type == wanted.event_type)
    if wanted.failing:
        statement = statement.where(found.c.id.in_(sa.select(StoredEvent.id).where(FAILING)))
    if wanted.cause is not None:
        statement = statement.where(found.c.id.in_(sa.select(StoredEvent.id).where(StoredEvent.cause == wanted.cause)))
    if wanted.is_sifted:
        statement = statement.where(found.c.id.in_(sa.select(StoredEvent.id).where(*_sieve(wanted))))
    if low is not None:
        statement = statement.where(sa.tuple_(*place) > bound_tuple(place, low))
    if high is not None:
        statement = statement.where(sa.tuple_(*place) < bound_tuple(place, high))
    return statement


def counted(session: Session, rows: sa.Select[Any], cap: int = COUNT_CAP) -> Count:
    """How many rows there are, up to the cap. Looked at is one more, which says whether there are more."""
    number = sa.select(sa.func.count()).select_from(rows.limit(cap + 1).subquery())
    return Count.of(session.scalar(number) or 0, cap)


def is_capped(session: Session, wanted: Filter) -> bool:
    """Whether the filter has a term that more rows match than were candidates."""
    if wanted.term is None:
        return False
    more = (
        branch.with_only_columns(sa.literal_column("1")).offset(CANDIDATES).limit(1).exists()
        for branch in (*_equal(wanted.term), *_beginning(session, wanted.term).values())
    )
    return bool(session.scalar(sa.select(sa.or_(*more))))


def _visible_branches(session: Session, term: str) -> Iterator[Statement]:
    """The rows that carry the term, and those whose IDs begin with it and are shown."""
    yield from (branch.limit(CANDIDATES) for branch in _equal(term))
    beginning = {name: branch.limit(CANDIDATES) for name, branch in _beginning(session, term).items()}
    told_apart = ("told apart", term)
    if told_apart not in session.info:  # a page asks for its rows and for two counts, in one session
        session.info[told_apart] = _told_apart(session, beginning)
    hidden, shown = session.info[told_apart]
    for name, branch in beginning.items():
        yield sa.select(*_FOUND).where(StoredEvent.id.in_(shown[name])) if name in hidden else branch


def _equal(term: str) -> Iterator[Statement]:
    """Rows that carry the term itself, the latest first."""
    for name in SEARCHED:
        yield sa.select(*_FOUND).where(getattr(StoredEvent, name) == term).order_by(StoredEvent.occurred_at.desc())
    if number := row_named(term):
        yield sa.select(*_FOUND).where(StoredEvent.id == number)


def _beginning(session: Session, term: str) -> dict[str, Statement]:
    """By the column: rows whose IDs begin with the term, in the IDs' order."""
    bytewise = session.get_bind().dialect.name == "postgresql"  # the operators of text_pattern_ops
    found: dict[str, Statement] = {}
    for name in SEARCHED:
        column = getattr(StoredEvent, name)
        above, below = column.op("~>~" if bytewise else ">"), column.op("~<~" if bytewise else "<")
        order = sa.literal_column(f"events.{name} USING ~<~") if bytewise else column
        found[name] = sa.select(*_FOUND).where(above(term), below(term + _LAST)).order_by(order)
    return found


def _told_apart(session: Session, branches: dict[str, Statement]) -> tuple[set[str], dict[str, list[int]]]:
    """The columns of which people don't see every candidate, and the rows of which they do, by the column."""
    values = [
        branch.with_only_columns(
            sa.literal(name).label("name"), StoredEvent.id, getattr(StoredEvent, name).label("text")
        )
        for name, branch in branches.items()
    ]
    hidden: set[str] = set()
    shown: dict[str, list[int]] = {name: [] for name in branches}
    for name, row, text in session.execute(sa.union_all(*_wrapped(values))):
        if is_shown(text):
            shown[name].append(row)
        else:
            hidden.add(name)
    return hidden, shown


def _wrapped(branches: Iterable[Statement]) -> Iterator[Statement]:
    """SQLite takes an ORDER BY and a LIMIT in part of a union only when that part is a query of its own."""
    for branch in branches:
        yield sa.select(branch.subquery())


def bound_tuple(columns: Sequence[Any], values: Sequence[Any]) -> Any:
    pairs = zip(columns, values, strict=True)
    return sa.tuple_(*(sa.bindparam(None, value, column.type, unique=True) for column, value in pairs))
