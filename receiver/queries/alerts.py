"""What the page shows of alerts: what lasts, who knows of it, and whether the channels work. Nothing here writes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from receiver.database.engine import reading
from receiver.queries.conditions import Condition
from receiver.store.inbox import Inbox
from receiver.store.models import AlertChannel, AlertCondition


@dataclass(frozen=True)
class Watched:
    """A condition of this moment, with what is known of its alert. `since` is None until a worker has looked."""

    condition: Condition
    since: datetime | None = None
    acknowledged_by: str | None = None
    snoozed_until: datetime | None = None


@dataclass(frozen=True)
class ChannelState:
    """Whether a channel works. The heartbeat and each address of ALERT_URLS is one."""

    name: str
    sent_at: datetime | None = None
    failing_since: datetime | None = None
    failures: int = 0
    error: str | None = None


def watched(inbox: Inbox, found: Iterable[Condition]) -> list[Watched]:
    """These conditions, in their order."""
    with reading(inbox.engine) as session:
        rows = {row.code: row for row in session.scalars(sa.select(AlertCondition))}
    return [_watched(condition, rows.get(condition.code), inbox.clock.now()) for condition in found]


def _watched(condition: Condition, row: AlertCondition | None, now: datetime) -> Watched:
    if row is None:
        return Watched(condition)
    snoozed = row.snoozed_until if row.snoozed_until and row.snoozed_until > now else None
    return Watched(condition, row.since if row.lasts else None, row.acknowledged_by, snoozed)


def channel_states(inbox: Inbox, names: Mapping[str, str]) -> list[ChannelState]:
    """The channels by these keys, with these names."""
    with reading(inbox.engine) as session:
        chosen = sa.select(AlertChannel).where(AlertChannel.channel.in_(names))
        rows = {row.channel: row for row in session.scalars(chosen)}
    return [_state(name, rows.get(key)) for key, name in names.items()]


def _state(name: str, row: AlertChannel | None) -> ChannelState:
    if row is None:
        return ChannelState(name)
    return ChannelState(name, row.sent_at, row.failing_since, row.failures, row.error)
