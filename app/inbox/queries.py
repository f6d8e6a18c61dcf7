"""Questions about the inbox that the page, the CLI, /metrics and /readyz ask. Nothing here writes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import chain
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.database import ROOT, UtcDateTime, cause_of, reading, writing
from app.inbox.audit import WRONG_PATH
from app.inbox.branches import branch, failing_branch
from app.inbox.conditions import Failing, Health, Limits
from app.inbox.context import Inbox
from app.inbox.count import COUNT_CAP, Count, cap_for
from app.inbox.environment import environment_problem
from app.inbox.filters import Filter, fits_a_column, row_named
from app.inbox.lifecycle import NOT_YET, State
from app.inbox.models import AuditEntry, Heartbeat, Observation, StoredEvent, SummedUntil
from app.inbox.shown import Shown, shown
from app.privacy.columns import Showing
from app.privacy.masking import masking_self_test

AUDIT_PAGE = 100
MOST_OF_A_TRAIL = 500
FIRST_OF_A_TRAIL = 100
VERSION_TABLE = "receiver_version"
"""Alembic's table, under a name that no other application in the same database uses."""
WORKER_SILENCE = timedelta(minutes=1)
TEN_MINUTES, HOUR = timedelta(minutes=10), timedelta(hours=1)
NEWEST = 20
LONGEST_ERROR = 200
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class AuditFilter:
    """Which rows of the audit log; the default means all of them."""

    event_id: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Trail:
    """The audit rows of an event, oldest first. A very long trail lacks its middle."""

    first: Sequence[AuditEntry | Shown]
    left_out: int = 0
    latest: Sequence[AuditEntry | Shown] = ()

    def __iter__(self) -> Iterator[AuditEntry | Shown]:
        return chain(self.first, self.latest)

    def shown(self, showing: Showing) -> "Trail":
        """The same rows as people see them."""
        first, latest = ([shown(entry, showing) for entry in entries] for entries in (self.first, self.latest))
        return Trail(first, self.left_out, latest)

    def lines(self, line: Callable[[Any], str]) -> list[str]:
        """As text, with a word about what is left out."""
        gap = [f"({self.left_out:,} entries in between are left out)"] if self.left_out else []
        return [*map(line, self.first), *gap, *map(line, self.latest)]


def find_event(session: Session, reference: str) -> StoredEvent | None:
    """By event ID, or by `#` and the row's number, which quarantined bodies have instead."""
    if not fits_a_column(reference):
        return None
    if number := row_named(reference):
        return session.get(StoredEvent, number)
    return session.scalar(sa.select(StoredEvent).where(StoredEvent.event_id == reference))


def audit_trail(session: Session, row: StoredEvent) -> Trail:
    """What was recorded of this row."""
    of_row = sa.select(AuditEntry.id).where(AuditEntry.inbox_id == row.id)
    event_id = row.event_id or row.claimed_event_id
    found = (sa.union(of_row, *_entries_of(event_id)) if event_id else of_row).subquery()
    entries = sa.select(AuditEntry).where(AuditEntry.id.in_(sa.select(found.c.id)))
    first = session.scalars(entries.order_by(AuditEntry.id).limit(MOST_OF_A_TRAIL + 1)).all()
    if len(first) <= MOST_OF_A_TRAIL:
        return Trail(first)
    number = session.scalar(sa.select(sa.func.count()).select_from(found)) or 0
    latest = session.scalars(entries.order_by(AuditEntry.id.desc()).limit(MOST_OF_A_TRAIL - FIRST_OF_A_TRAIL)).all()
    return Trail(first[:FIRST_OF_A_TRAIL], number - MOST_OF_A_TRAIL, latest[::-1])


def _entries_of(event_id: str) -> list[sa.Select[int]]:
    """The audit rows of an event: by the numbers of its rows, the quarantined too; sums have only its ID."""
    either = (StoredEvent.event_id == event_id) | (StoredEvent.claimed_event_id == event_id)
    rows = sa.select(StoredEvent.id).where(either)
    return [
        sa.select(AuditEntry.id).where(AuditEntry.inbox_id.in_(rows)),
        sa.select(AuditEntry.id).where(AuditEntry.inbox_id.is_(None), AuditEntry.event_id == event_id),
    ]


def list_audit(
    session: Session, chosen: AuditFilter, *, before: tuple[datetime, int] | None = None, limit: int = AUDIT_PAGE
) -> Sequence[AuditEntry]:
    """Newest first; `before` is the (at, id) of the last row of the page above."""
    statement = sa.select(AuditEntry).order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
    if chosen.event_id and not chosen.event_id.isprintable():
        return []  # no ID holds that, and no database takes it
    if chosen.event_id:
        statement = statement.where(AuditEntry.id.in_(sa.union(*_entries_of(chosen.event_id))))
    if chosen.action:
        statement = statement.where(AuditEntry.action == chosen.action)
        if chosen.action not in ("delivery", "attempt"):  # said in so many words, so that the partial index serves it
            statement = statement.where(sa.text("action NOT IN ('delivery', 'attempt')"))
    if chosen.since:
        statement = statement.where(AuditEntry.at >= chosen.since)
    if chosen.until:
        statement = statement.where(AuditEntry.at < chosen.until)
    if before:
        statement = statement.where(sa.tuple_(AuditEntry.at, AuditEntry.id) < sa.tuple_(*_bound(before)))
    return session.scalars(statement.limit(limit)).all()


def seen_types(session: Session) -> Sequence[str]:
    """The event types that ever came, for a person to choose from."""
    types = sa.select(Observation.name).where(Observation.kind == "type").order_by(Observation.name)
    return session.scalars(types.limit(200)).all()


def health(inbox: Inbox, limits: Limits = DEFAULT_LIMITS, *, count_to: int = COUNT_CAP) -> Health:
    """The facts that conditions.py judges. Counts reach as far as the limits, and at least to `count_to`."""
    now, problem = inbox.clock.now(), _problem(inbox)
    with reading(inbox.engine) as session:
        oldest_due, worker_seen = _oldest_due(session, inbox), _worker_seen(session)
        until = session.scalars(sa.select(SummedUntil)).one()
        newest_received = session.scalar(sa.select(sa.func.max(StoredEvent.received_at)))
        newest = list(session.scalars(branch({}, None, None).with_only_columns(StoredEvent.state).limit(NEWEST)))
        failing, waiting = _failing(session, cap_for(limits.failing, count_to))
        wrong_paths, wrong_path = _wrong_paths(session, now - HOUR)
        return Health(
            now=now,
            problem=problem,
            counts=_counts(session, cap_for(limits.dead, count_to)),
            quarantined=_quarantined(session, now - limits.quarantined_within, cap_for(limits.quarantined)),
            newest=len(newest),
            newest_quarantined=newest.count(State.QUARANTINED),
            failing=failing,
            waiting=waiting,
            oldest_due=oldest_due,
            worker_seen=worker_seen,
            due_without_worker=bool(oldest_due and _is_silent(worker_seen, now)),
            last_delivery=max(filter(None, (newest_received, until.last_good_at)), default=None),
            rejected_recently=_occurrences(session, now - TEN_MINUTES, AuditEntry.result != WRONG_PATH),
            refused_in_a_row=until.failed_in_a_row,
            wrong_paths=wrong_paths,
            wrong_path=wrong_path,
            right_path=inbox.settings.webhook_path,
            unmasked=masking_self_test(),
        )


def takes_writes(inbox: Inbox) -> str | None:
    """None when the database takes writes and its schema serves this build; else a reason code."""
    with writing(inbox.engine) as session:
        on_postgresql = session.get_bind().dialect.name == "postgresql"
        if on_postgresql and session.scalar(sa.text("SHOW transaction_read_only")) == "on":
            return "read_only"
        return schema_problem(session) or environment_problem(session, inbox.settings.environment)


def schema_problem(session: Session) -> str | None:
    """None when the schema is at this build's revision or beyond it (a newer release has migrated)."""
    if not sa.inspect(session.connection()).has_table(VERSION_TABLE):
        return "not_migrated"
    revision = session.scalar(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE)))
    if revision is None:
        return "not_migrated"
    return "behind" if revision in _older_revisions() else None


@cache
def _older_revisions() -> frozenset[str]:
    """Revisions that this build knows and that its head follows. An unknown one is a newer build's."""
    return frozenset(known_revisions()[1:])


@cache
def known_revisions() -> Sequence[str]:
    """The revisions of this build's migrations, newest first."""
    try:
        return [script.revision for script in ScriptDirectory.from_config(_alembic_config()).walk_revisions()]
    except CommandError:
        return []


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return config


def _worker_seen(session: Session) -> datetime | None:
    return session.scalar(sa.select(sa.func.max(Heartbeat.seen_at)).where(Heartbeat.worker != "purge"))


def _is_silent(worker_seen: datetime | None, now: datetime) -> bool:
    return worker_seen is None or now - worker_seen > WORKER_SILENCE


def _problem(inbox: Inbox) -> str | None:
    try:
        return takes_writes(inbox)
    except SQLAlchemyError as error:
        return cause_of(error)


def _oldest_due(session: Session, inbox: Inbox) -> datetime | None:
    """The state is a literal, and SQLite is told, so that the partial index serves it."""
    due = (StoredEvent.state == sa.literal_column("'pending'")) & (StoredEvent.due_at <= inbox.now())
    oldest = sa.select(sa.func.min(StoredEvent.due_at)).where(due)
    return session.scalar(oldest.with_hint(StoredEvent, "INDEXED BY ix_events_due", "sqlite"))


def _counts(session: Session, cap: int) -> dict[State, Count]:
    """Of each state. Only what was processed grows for ever, and no number of it needs a person."""
    caps = {state: COUNT_CAP if state == State.PROCESSED else cap for state in State}
    numbers = {
        state: sa.select(StoredEvent.id).where(StoredEvent.state == state).limit(cap + 1).subquery()
        for state, cap in caps.items()
    }
    counted = {
        state: session.scalar(sa.select(sa.func.count()).select_from(rows)) or 0 for state, rows in numbers.items()
    }
    return {state: Count.of(number, caps[state]) for state, number in counted.items()}


def _quarantined(session: Session, since: datetime, cap: int) -> dict[str, Count]:
    """How many of what came since then is quarantined, by the reason."""
    rows = branch({"state": State.QUARANTINED}, (since, 0), None, down=False)
    reasons = rows.with_only_columns(StoredEvent.quarantine_reason).limit(cap + 1).subquery()
    by_reason = sa.select(reasons.c.quarantine_reason, sa.func.count()).group_by(reasons.c.quarantine_reason)
    found: dict[str | None, int] = dict(iter(session.execute(by_reason)))
    is_capped = sum(found.values()) > cap
    return {reason or "unusable": Count(min(number, cap), is_capped) for reason, number in found.items()}


def _failing(session: Session, cap: int) -> tuple[Failing, Failing]:
    """Events whose last attempt failed, and events that are put off; looked at are those that came first."""
    rows = failing_branch(Filter(), None, None, down=False).limit(cap + 1)
    found = rows.with_only_columns(
        StoredEvent.last_error.startswith(NOT_YET).label("waits"),
        sa.func.coalesce(StoredEvent.failing_since, StoredEvent.received_at, type_=UtcDateTime()).label("since"),
        sa.func.substr(StoredEvent.last_error, 1, LONGEST_ERROR).label("error"),
    ).subquery()
    number = sa.func.count()
    sums = sa.select(found.c.waits, found.c.error, number, sa.func.min(found.c.since, type_=UtcDateTime()))
    groups = session.execute(sums.group_by(found.c.waits, found.c.error).order_by(number.desc(), found.c.error)).all()
    is_capped = sum(group[2] for group in groups) > cap

    def summed(*, waits: bool) -> Failing:
        chosen = [group for group in groups if bool(group.waits) == waits]
        if not chosen:
            return Failing()
        total = sum(group[2] for group in chosen)
        return Failing(Count(total, is_capped), min(group[3] for group in chosen), chosen[0].error)

    return summed(waits=False), summed(waits=True)


def _wrong_paths(session: Session, since: datetime) -> tuple[int, str | None]:
    """How many POSTs came to paths that look like the webhook's, and the path that was named most often."""
    is_one = AuditEntry.result == WRONG_PATH
    named = sa.select(AuditEntry.detail).where(_rejected(since), is_one, AuditEntry.detail != "summed")
    named = named.group_by(AuditEntry.detail).order_by(sa.func.count().desc(), AuditEntry.detail).limit(1)
    return _occurrences(session, since, is_one), session.scalar(named)


def _occurrences(session: Session, since: datetime, which: sa.ColumnElement[bool]) -> int:
    number = sa.func.coalesce(sa.func.sum(AuditEntry.occurrences), 0)
    return int(session.scalar(sa.select(number).where(_rejected(since), which)) or 0)


def _rejected(since: datetime) -> sa.ColumnElement[bool]:
    """In so many words, so that the partial index `ix_audit_rejected` serves it; its rows are few, by the tally."""
    # The moment is a value, which the planner can judge: how few rows lie behind an expression it can't know.
    return sa.and_(sa.text("substr(audit_log.result, 1, 9) = 'rejected:'"), AuditEntry.at > since)


def _bound(before: tuple[datetime, int]) -> tuple[sa.ColumnElement[datetime], sa.ColumnElement[int]]:
    return (
        sa.bindparam(None, before[0], StoredEvent.received_at.type, unique=True),
        sa.bindparam(None, before[1], sa.BigInteger(), unique=True),
    )
