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
from receiver.queries.count import Count
from receiver.queries.index_pieces import counted
from receiver.store.inbox import Inbox
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
    """What happened, and what is new. `hours` and `latency` are as of `as_of`, or never summed yet: None.

    What needs a person, such as what is dead, is `Health` (receiver/queries/health.py).
    """

    as_of: datetime | None
    hours: Sequence[Hour]  # the earliest first, the present one last, none left out
    follow_ups: int  # that handlers asked for
    latency: Latency
    due: Count  # those that run now included
    new_types: Sequence[FirstSeen]
    new_fields: Sequence[FirstSeen]

    @property
    def totals(self) -> dict[str, int]:
        """The sums over all hours, by the names of `Hour`."""
        return {name: sum(getattr(hour, name) for hour in self.hours) for name in RESULTS}


RESULTS = tuple(field.name for field in fields(Hour) if field.name != "at")


def overview(inbox: Inbox, hours: int) -> Overview:
    """What happened in the last so many hours, the present one included, and how things stand."""
    start = first_hour(inbox.clock.now(), hours)
    with reading(inbox.engine) as session:
        return Overview(
            as_of=summed_at(session),
            hours=_hours(session, start, hours),
            follow_ups=follow_ups_asked(session, start),
            latency=_latency(session, start),
            due=_due(session, inbox),
            new_types=_first_seen(session, "type", inbox.settings.showing),
            new_fields=_first_seen(session, "field", mask_text),
        )


def first_hour(now: datetime, hours: int) -> datetime:
    """When the first of the last so many hours began, the present one included."""
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)


def summed_at(session: Session) -> datetime | None:
    """Up to when everything is in the sums. None: nothing was summed yet."""
    return session.scalar(sa.select(SummedUntil.as_of))


def follow_ups_asked(session: Session, start: datetime) -> int:
    """How many follow-ups handlers have asked for since the hour that began then."""
    asked = (HourlySum.hour >= start) & (HourlySum.kind == "follow-up")
    return int(session.scalar(sa.select(sa.func.sum(HourlySum.occurrences)).where(asked)) or 0)


def _hours(session: Session, start: datetime, hours: int) -> list[Hour]:
    """A result without its reason, which may follow behind a colon."""
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
    """The state is a literal, and SQLite is told, so that the partial index serves it."""
    is_due = (StoredEvent.state == sa.literal_column("'pending'")) & (StoredEvent.due_at <= inbox.clock.now())
    due = sa.select(StoredEvent.due_at).where(is_due).order_by(StoredEvent.due_at)
    return counted(session, due.with_hint(StoredEvent, "INDEXED BY ix_events_due", "sqlite"))


def _first_seen(session: Session, kind: str, see: Callable[[str], str]) -> list[FirstSeen]:
    """The newest names alone, for there may be thousands (receiver/worker/novelty.py)."""
    newest = sa.select(Observation.name, Observation.first_seen_at).where(Observation.kind == kind)
    order = (Observation.first_seen_at.desc(), Observation.name)
    return [FirstSeen(see(name), at) for name, at in session.execute(newest.order_by(*order).limit(NEWEST))]
