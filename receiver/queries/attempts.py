"""How attempts ended and how long handlers took, by event type or name of a follow-up. Nothing here writes.

A worker sums them every ten seconds (receiver/maintenance/attempt_sums.py). The resolution of a duration is that of the
buckets: a percentile is the upper bound of its bucket, infinite beyond the last.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.percentile import percentile
from receiver.store.models import BEYOND, UNTIMED, AttemptSum, AttemptTotal


@dataclass
class Attempts:
    """The attempts of one type."""

    event_type: str  # as a label (receiver/store/type_label.py)
    results: Counter[str] = field(default_factory=Counter)
    buckets: Counter[float] = field(default_factory=Counter)  # by the upper bound in milliseconds
    milliseconds: int = 0

    @property
    def number(self) -> int:
        """All of them."""
        return self.results.total()

    @property
    def p50(self) -> float | None:
        """Half of the handlers took so many milliseconds at most. None: none was timed."""
        return percentile(self.buckets, 50) if self.buckets else None

    @property
    def p99(self) -> float | None:
        """99 % of them."""
        return percentile(self.buckets, 99) if self.buckets else None


def attempts_since(session: Session, start: datetime) -> Sequence[Attempts]:
    """The attempts since the hour that began then, the most frequent type first."""
    return sorted(_by_type(session, AttemptSum, AttemptSum.hour >= start), key=lambda found: -found.number)


def attempts_of_all_time(session: Session) -> Sequence[Attempts]:
    """Every attempt that was ever summed, by the name of the type."""
    return _by_type(session, AttemptTotal, sa.true())


def _by_type(
    session: Session, table: type[AttemptSum] | type[AttemptTotal], which: sa.ColumnElement[bool]
) -> list[Attempts]:
    key = (table.event_type, table.result, table.bucket)
    sums = sa.select(*key, sa.func.sum(table.occurrences), sa.func.sum(table.milliseconds)).where(which)
    found = dict[str, Attempts]()
    for event_type, result, bucket, occurrences, milliseconds in session.execute(sums.group_by(*key)):
        attempts = found.setdefault(event_type, Attempts(event_type))
        attempts.results[result] += int(occurrences)
        attempts.milliseconds += int(milliseconds)
        if bucket != UNTIMED:
            attempts.buckets[math.inf if bucket == BEYOND else float(bucket)] += int(occurrences)
    return [found[name] for name in sorted(found)]
