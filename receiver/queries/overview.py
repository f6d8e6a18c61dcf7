"""What an overview shows: flat at any size, because it reads sums by the hour, and counts nothing beyond a cap.

The sums are as old as the workers' last turn (receiver/maintenance/rollup.py), and the overview says how old. What is
due, dead or quarantined is of this moment. To show another number of the past, give `Hour` a field of a result's name.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.engine import reading
from receiver.percentile import percentile
from receiver.privacy.masking import mask_text
from receiver.queries.count import COUNT_CAP, Count
from receiver.queries.filters import Filter
from receiver.queries.search import counts
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import State
from receiver.store.models import BEYOND, LATENCY, HourlySum, Observation, StoredEvent, SummedUntil

NEWEST = 20


@dataclass(frozen=True)
class Hour:
    """What happened in the hour that began then: deliveries by result, and attempts by result."""

    at: datetime
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    rejected: int = 0
    processed: int = 0
    failed: int = 0
    dead: int = 0


@dataclass(frozen=True)
class Latency:
    """Milliseconds from a delivery's first byte to its commit, of those that were kept.

    Its resolution is that of latency.BUCKETS: a percentile is the upper bound of its bucket, infinite beyond the last.
    """

    deliveries: int
    p50: float | None
    p99: float | None


@dataclass(frozen=True)
class FirstSeen:
    """An event type or a payload field, and when the first event with it was processed."""

    name: str
    at: datetime


@dataclass(frozen=True)
class Overview:
    """The state of things. `hours`, `latency` and the answers are as of `as_of`, or never summed yet: None."""

    as_of: datetime | None
    hours: Sequence[Hour]  # the earliest first, the present one last, none left out
    latency: Latency
    failed_in_a_row: int  # answers other than 200 since the last good one, at least
    last_good_answer: datetime | None
    last_delivery: datetime | None  # that was authentic
    due: Count  # those that run now included
    oldest_due: datetime | None
    dead: Count
    quarantined: Count
    new_types: Sequence[FirstSeen]
    new_fields: Sequence[FirstSeen]

    @property
    def totals(self) -> dict[str, int]:
        """The sums over all hours, by the names of `Hour`."""
        return {name: sum(getattr(hour, name) for hour in self.hours) for name in RESULTS}


RESULTS = tuple(field.name for field in fields(Hour) if field.name != "at")


def overview(inbox: Inbox, hours: int) -> Overview:
    """What happened in the last so many hours, the present one included, and how things stand."""
    now = inbox.clock.now()
    start = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)
    with reading(inbox.engine) as session:
        until = session.scalars(sa.select(SummedUntil)).one()
        by_state = counts(session, Filter())
        newest = session.scalar(sa.select(sa.func.max(StoredEvent.received_at)))
        return Overview(
            as_of=until.as_of,
            hours=_hours(session, start, hours),
            latency=_latency(session, start),
            failed_in_a_row=until.failed_in_a_row,
            last_good_answer=until.last_good_at,
            last_delivery=max(filter(None, (newest, until.last_good_at)), default=None),
            due=_due(session, inbox),
            oldest_due=session.scalar(_oldest(inbox, 1)),
            dead=by_state[State.DEAD],
            quarantined=by_state[State.QUARANTINED],
            new_types=_first_seen(session, "type", inbox.settings.showing),
            new_fields=_first_seen(session, "field", mask_text),
        )


def _hours(session: Session, start: datetime, hours: int) -> list[Hour]:
    """A result may say why behind a colon; here it counts as what it is."""
    found: dict[datetime, Counter[str]] = {start + timedelta(hours=number): Counter() for number in range(hours)}
    columns = (HourlySum.hour, HourlySum.name, HourlySum.occurrences)
    sums = sa.select(*columns).where(HourlySum.hour >= start, HourlySum.kind.in_(("delivery", "attempt")))
    for hour, result, occurrences in session.execute(sums):
        name = result.partition(":")[0]
        if name in RESULTS and hour in found:
            found[hour][name] += occurrences
    return [Hour(at, **results) for at, results in found.items()]


def _latency(session: Session, start: datetime) -> Latency:
    number = sa.func.sum(HourlySum.occurrences)
    latency = (HourlySum.hour >= start) & (HourlySum.kind == LATENCY)
    sums = session.execute(sa.select(HourlySum.name, number).where(latency).group_by(HourlySum.name))
    buckets = {math.inf if name == BEYOND else float(name): int(count) for name, count in sums}
    if not buckets:
        return Latency(0, None, None)
    return Latency(sum(buckets.values()), percentile(buckets, 50), percentile(buckets, 99))


def _due(session: Session, inbox: Inbox) -> Count:
    number = session.scalar(sa.select(sa.func.count()).select_from(_oldest(inbox, COUNT_CAP + 1).subquery())) or 0
    return Count.of(number, COUNT_CAP)


def _oldest(inbox: Inbox, most: int) -> sa.Select[datetime | None]:
    """When events became due. The state is a literal, and SQLite is told, so that the partial index serves it."""
    due = (StoredEvent.state == sa.literal_column("'pending'")) & (StoredEvent.due_at <= inbox.clock.now())
    statement = sa.select(StoredEvent.due_at).where(due).order_by(StoredEvent.due_at).limit(most)
    return statement.with_hint(StoredEvent, "INDEXED BY ix_events_due", "sqlite")


def _first_seen(session: Session, kind: str, see: Callable[[str], str]) -> list[FirstSeen]:
    """The newest names alone, for there may be thousands (receiver/worker/novelty.py)."""
    newest = sa.select(Observation.name, Observation.first_seen_at).where(Observation.kind == kind)
    order = (Observation.first_seen_at.desc(), Observation.name)
    return [FirstSeen(see(name), at) for name, at in session.execute(newest.order_by(*order).limit(NEWEST))]
