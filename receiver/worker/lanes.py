"""Which events a worker process runs: all, the quick ones, or the slow ones, so that slow work holds up no quick work.

Slow are follow-ups, and events whose handler says `slow=True`. With SLOW_PROCESSES, a worker has so many processes for
them alone, and its other processes run the rest. An exact type that is quick may match a slow pattern: then it is slow.
"""

from collections.abc import Sequence
from enum import StrEnum

import sqlalchemy as sa

from receiver.config import Settings
from receiver.registry import registered
from receiver.store.models import StoredEvent


class Lane(StrEnum):
    """What a worker process runs."""

    ALL = "all"
    QUICK = "quick"
    SLOW = "slow"


def lanes(settings: Settings, processes: int) -> list[Lane]:
    """The lane of each process of a worker that has so many processes, beside those for slow work."""
    if not settings.slow_processes:
        return [Lane.ALL] * processes
    return [Lane.QUICK] * processes + [Lane.SLOW] * settings.slow_processes


def slow_patterns() -> tuple[str, ...]:
    """The types and patterns whose handlers say that they are slow."""
    return tuple(pattern for pattern, handling in registered() if handling.slow)


def in_lane(lane: Lane, patterns: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a row is one of this lane, where these patterns are slow."""
    if lane is Lane.ALL:
        return sa.true()
    event_type = sa.func.coalesce(StoredEvent.event_type, "")
    exact = [pattern for pattern in patterns if "*" not in pattern]
    alike = [event_type.like(_like(pattern), escape="\\") for pattern in patterns if "*" in pattern]
    slow = sa.or_(StoredEvent.caused_by.is_not(None), event_type.in_(exact), *alike)
    return slow if lane is Lane.SLOW else sa.not_(slow)


def _like(pattern: str) -> str:
    return pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
