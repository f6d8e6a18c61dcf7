"""What is known of one person: the events that name them, and the follow-ups of these. And how many people there are.

What nobody can find without the index, or in spite of it, is a `Blind` of the answer: no answer looks more complete
than it is. To name another blind spot, add it to `Blind` and to `words()`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.config import Settings
from receiver.privacy.person import Person, PersonIndex
from receiver.queries.count import COUNT_CAP, Count
from receiver.queries.search import COLUMNS, Row
from receiver.store.models import PersonEntry, PersonIndexBuilt, StoredEvent

MOST_LISTED = 50
PORTION = 500
NO_INDEX = (
    "SUBJECT_FIELDS is not set. Payloads are sealed, so nobody can say which events name a person."
    " Set SUBJECT_FIELDS and SUBJECT_INDEX_KEYS, then run `flask --app wsgi events reindex`."
)


class NoIndex(Exception):
    """SUBJECT_FIELDS is empty, so nobody can be found."""

    def __init__(self) -> None:
        super().__init__(NO_INDEX)


@dataclass(frozen=True)
class Blind:
    """What an answer can't see."""

    is_unbuilt: bool  # events from before the present settings may be missing
    unparsed: Count  # bodies that nobody can read

    def words(self) -> list[str]:
        """A sentence for each blind spot."""
        found = []
        if self.is_unbuilt:
            found.append(
                "The index was not built for the present settings: events from before may be missing."
                " Run `flask --app wsgi events reindex`."
            )
        if self.unparsed.number:
            found.append(
                f"Bodies that can't be read: {self.unparsed}. Nobody knows whom they name."
                " Retention erases each after seven days."
            )
        return found


@dataclass(frozen=True)
class Found:
    """The events of one person."""

    name: str
    by_state: dict[str, int]
    first_at: datetime | None  # received
    last_at: datetime | None
    newest: Sequence[Row]
    others: dict[str, int]  # how many other values, by kind, stand in these events
    blind: Blind

    @property
    def number(self) -> int:
        """How many events."""
        return sum(self.by_state.values())


@dataclass(frozen=True)
class People:
    """How many people the events of a time name, by kind of value."""

    events: int
    unnamed: int  # events that name nobody whom the index knows
    by_kind: dict[str, int]
    is_upper_bound: bool  # a person may have been counted once for each key of the index
    blind: Blind


def index_of(settings: Settings) -> PersonIndex:
    """The index. Raises NoIndex."""
    if settings.person_index is None:
        raise NoIndex
    return settings.person_index


def find_person(session: Session, settings: Settings, person: Person) -> Found:
    """Everything that names the person. Raises NoIndex."""
    concerned = _concerned(person)
    rows = StoredEvent.id.in_(concerned)
    moments = sa.func.min(StoredEvent.received_at), sa.func.max(StoredEvent.received_at)
    by_state = session.execute(
        sa.select(StoredEvent.state, sa.func.count(), *moments).where(rows).group_by(StoredEvent.state)
    ).all()
    newest = sa.select(*COLUMNS).where(rows).order_by(StoredEvent.received_at.desc(), StoredEvent.id.desc())
    return Found(
        name=person.name,
        by_state={state: number for state, number, _, _ in by_state},
        first_at=min((first for _, _, first, _ in by_state), default=None),
        last_at=max((last for _, _, _, last in by_state), default=None),
        newest=[Row(*row) for row in session.execute(newest.limit(MOST_LISTED))],
        others=_others(session, person, concerned),
        blind=blind_spots(session, settings),
    )


def events_naming(session: Session, person: Person, *, after: int = 0) -> Sequence[int]:
    """The next portion of the numbers of the events that name the person themselves, in order."""
    own = sa.select(PersonEntry.inbox_id).where(PersonEntry.digest.in_(person.digests), PersonEntry.inbox_id > after)
    return session.scalars(own.distinct().order_by(PersonEntry.inbox_id).limit(PORTION)).all()


def events_of(session: Session, person: Person, *, after: int = 0) -> Sequence[int]:
    """The next portion of the numbers of these and of their follow-ups, in order."""
    concerned = _concerned(person)
    wanted = sa.select(StoredEvent.id).where(StoredEvent.id.in_(concerned), StoredEvent.id > after)
    return session.scalars(wanted.order_by(StoredEvent.id).limit(PORTION)).all()


def naming_others(session: Session, person: Person, rows: Sequence[int]) -> set[int]:
    """Those of these events that have another value of the same kind: they name somebody else too."""
    same_kind = sa.select(PersonEntry.kind).where(
        PersonEntry.digest.in_(person.digests), PersonEntry.inbox_id.in_(rows)
    )
    other = PersonEntry.digest.not_in(person.digests) & PersonEntry.kind.in_(same_kind)
    return set(session.scalars(sa.select(PersonEntry.inbox_id).where(PersonEntry.inbox_id.in_(rows), other)))


def people_between(session: Session, settings: Settings, since: datetime, until: datetime) -> People:
    """How many people are named by what was received between these moments. Raises NoIndex."""
    index_of(settings)
    received = (StoredEvent.received_at >= since) & (StoredEvent.received_at < until)
    events = session.scalar(sa.select(sa.func.count()).select_from(StoredEvent).where(received)) or 0
    entries = sa.join(PersonEntry, StoredEvent, PersonEntry.inbox_id == StoredEvent.id)
    distinct = sa.func.count(sa.distinct(PersonEntry.digest))
    counted = session.execute(
        sa.select(PersonEntry.kind, PersonEntry.key_id, distinct)
        .select_from(entries)
        .where(received)
        .group_by(PersonEntry.kind, PersonEntry.key_id)
    ).all()
    named = sa.select(sa.func.count(sa.distinct(PersonEntry.inbox_id))).select_from(entries).where(received)
    by_kind = Counter[str]()
    for kind, _, number in counted:
        by_kind[kind] += number
    return People(
        events=events,
        unnamed=events - (session.scalar(named) or 0),
        by_kind=dict(by_kind),
        is_upper_bound=len(counted) > len(by_kind),
        blind=blind_spots(session, settings),
    )


def blind_spots(session: Session, settings: Settings) -> Blind:
    """What no answer can see at the moment. Raises NoIndex."""
    index = index_of(settings)
    built = session.scalar(sa.select(PersonIndexBuilt))
    is_built = built is not None and built.fields == index.fingerprint and {*built.key_ids} <= {*index.key_ids}
    unparsed = sa.literal_column("NOT events.parsed") & StoredEvent.sealed_payload.is_not(None)
    looked_at = sa.select(StoredEvent.id).where(unparsed).limit(COUNT_CAP + 1).subquery()
    number = session.scalar(sa.select(sa.func.count()).select_from(looked_at)) or 0
    return Blind(not is_built, Count.of(number, COUNT_CAP))


def _concerned(person: Person) -> sa.Select[tuple[int]]:
    """The numbers of the events that name the person, and of the follow-ups of these."""
    own = sa.select(PersonEntry.inbox_id).where(PersonEntry.digest.in_(person.digests))
    follow_ups = sa.select(StoredEvent.id).where(StoredEvent.caused_by.is_not(None), StoredEvent.caused_by.in_(own))
    found = sa.union(own, follow_ups).subquery("concerned")
    return sa.select(found.c[0])


def _others(session: Session, person: Person, concerned: sa.Select[Any]) -> dict[str, int]:
    """How many other values there are in these events, by kind."""
    counted = sa.select(PersonEntry.kind, sa.func.count(sa.distinct(PersonEntry.digest))).where(
        PersonEntry.inbox_id.in_(concerned), PersonEntry.digest.not_in(person.digests)
    )
    return dict(_pairs(session.execute(counted.group_by(PersonEntry.kind)).all()))


def _pairs(rows: Sequence[Any]) -> Iterator[tuple[str, int]]:
    return ((kind, number) for kind, number in rows)
