"""Who is told of which change, and when. Each channel is told once that a condition began, and once that it is over.

A channel is told what differs from what it was told last, so a condition that came and went in between is no message.
After a message about a condition, the channel hears nothing of that condition for ten minutes, so a condition that
flaps is no flood. Nothing is sent about what is snoozed, nor about what a person acknowledged, until it is over.

Before it sends, a process leases the channel, for longer than sending can take. It notes what was told in the
transaction that ends the lease. When it dies between the two, the lease runs out, and the channel is told once more.
A channel that fails is tried again after a pause that grows. The heartbeat is a channel, too: it is asked while no
condition lasts that nobody knows of, and only if somebody looked just now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from receiver.alerts.channels import SEND_SECONDS, Answer, Channel, channels_of, send
from receiver.alerts.messages import Change, body, title
from receiver.database.engine import reading, writing
from receiver.database.insert import insert_into
from receiver.database.now import database_now
from receiver.store.inbox import Inbox
from receiver.store.models import AlertChannel, AlertCondition, AlertTold, AlertTurn

GAP = timedelta(minutes=10)
LEASE_SECONDS = 3 * SEND_SECONDS
BEAT_SECONDS = 120.0
FRESH = timedelta(minutes=2)
"""The heartbeat says that somebody looked so recently."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 30.0, 3600.0
log = structlog.get_logger()


@dataclass(frozen=True)
class Post:
    """What a process that sends needs beside the database: how the receiver is called, the channels, the clock."""

    receiver: str
    ahead: float  # seconds that the clock is ahead of the database's: 0 outside tests
    channels: tuple[Channel, ...]

    def now(self, *, plus: float = 0.0) -> database_now:
        """The database's clock, as an SQL expression."""
        return database_now(self.ahead + plus)


@dataclass(frozen=True)
class Task:
    """A channel that this process has leased, and what it is to be told. The heartbeat is told nothing."""

    channel: Channel
    token: UUID
    changes: Sequence[Change]


def post_of(inbox: Inbox) -> Post:
    """The post of this receiver."""
    settings = inbox.settings
    receiver = f"{settings.name or 'Senang.io receiver'} ({settings.environment})"
    return Post(receiver, inbox.clock.offset.total_seconds(), channels_of(settings))


def is_due(engine: Engine, post: Post) -> bool:
    """Whether a channel is to be told something now."""
    with reading(engine) as session:
        return any(_due(session, post, channel) is not None for channel in post.channels)


def send_due(engine: Engine, post: Post) -> None:
    """Tell each channel what it is to be told, one after the other. Raises SQLAlchemyError."""
    for channel in post.channels:
        task = _lease(engine, post, channel)
        if task is None:
            continue
        answer = send(channel, title(post.receiver, task.changes), body(task.changes))
        codes = ", ".join(change.code for change in task.changes)
        if answer.reason:
            log.warning("alert_failed", channel=channel.name, reason=answer.reason, codes=codes)
        elif not channel.is_heartbeat:
            log.info("alert_sent", channel=channel.name, codes=codes)
        _note(engine, post, task, answer)


def _due(session: Session, post: Post, channel: Channel) -> list[Change] | None:
    """What the channel is to be told now. None: nothing, or somebody else is telling it."""
    free = AlertChannel.lease_until.is_(None) | (AlertChannel.lease_until <= post.now())
    is_free = (AlertChannel.channel == channel.key) & free & (AlertChannel.due_at <= post.now())
    now = session.scalar(sa.select(post.now()).where(sa.exists().where(is_free)))
    if now is None:
        return None
    told = sa.and_(AlertTold.code == AlertCondition.code, AlertTold.channel == channel.key)
    rows = session.execute(sa.select(AlertCondition, AlertTold).outerjoin(AlertTold, told)).all()
    if channel.is_heartbeat:
        return [] if _all_is_well(session, [row for row, _ in rows], now) else None
    changes = [Change(row.code, row.lasts, row.since, row.sentence) for row, told in rows if _is_due(row, told, now)]
    return changes or None


def _is_due(row: AlertCondition, told: AlertTold | None, now: datetime) -> bool:
    if row.lasts == bool(told and told.lasts) or not _is_news(row, now):
        return False
    return told is None or now - told.told_at >= GAP


def _is_news(row: AlertCondition, now: datetime) -> bool:
    """Whether nobody said that this is known."""
    is_snoozed = row.snoozed_until is not None and row.snoozed_until > now
    return not is_snoozed and not (row.lasts and row.acknowledged_by)


def _all_is_well(session: Session, rows: Sequence[AlertCondition], now: datetime) -> bool:
    looked_at = session.scalar(sa.select(AlertTurn.looked_at))
    is_fresh = looked_at is not None and now - looked_at < FRESH
    return is_fresh and not any(row.lasts and _is_news(row, now) for row in rows)


def _lease(engine: Engine, post: Post, channel: Channel) -> Task | None:
    token = uuid4()
    with reading(engine) as session:
        if _due(session, post, channel) is None:
            return None
    with writing(engine) as session:
        session.execute(sa.select(AlertChannel).where(AlertChannel.channel == channel.key).with_for_update())
        changes = _due(session, post, channel)
        if changes is None:
            return None
        lease = {"lease_token": token, "lease_until": post.now(plus=LEASE_SECONDS)}
        session.execute(sa.update(AlertChannel).where(AlertChannel.channel == channel.key).values(lease))
    return Task(channel, token, changes)


def _note(engine: Engine, post: Post, task: Task, answer: Answer) -> None:
    """Note what became of it, unless the lease has passed to another process."""
    held = AlertChannel.channel == task.channel.key, AlertChannel.lease_token == task.token
    with writing(engine) as session:
        row = session.scalar(sa.select(AlertChannel).where(*held).with_for_update())
        if row is None:
            return
        row.lease_token = row.lease_until = None
        if answer.reason:
            pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(row.failures, 20), LONGEST_PAUSE_SECONDS)
            row.failures, row.error, row.due_at = row.failures + 1, answer.reason, post.now(plus=pause)
            row.failing_since = row.failing_since or post.now()
            return
        row.failures, row.error, row.failing_since, row.sent_at = 0, None, None, post.now()
        row.due_at = post.now(plus=BEAT_SECONDS if task.channel.is_heartbeat else 0.0)
        for change in task.changes:
            _note_told(session, post, task.channel, change)


def _note_told(session: Session, post: Post, channel: Channel, change: Change) -> None:
    told = {"channel": channel.key, "code": change.code, "lasts": change.lasts, "told_at": post.now()}
    insert = insert_into(AlertTold, session.get_bind().dialect.name).values(told)
    update = {"lasts": insert.excluded.lasts, "told_at": insert.excluded.told_at}
    session.execute(insert.on_conflict_do_update(index_elements=["channel", "code"], set_=update))
