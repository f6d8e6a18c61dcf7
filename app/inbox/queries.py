"""Questions about the inbox that the page, the CLI, /metrics and /readyz ask. Nothing here writes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import chain

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.orm import Session

from app.database import ROOT, reading, writing
from app.inbox.context import Inbox
from app.inbox.lifecycle import State
from app.inbox.models import AuditEntry, Heartbeat, Observation, StoredEvent

AUDIT_PAGE = 100
MOST_OF_A_TRAIL = 500
FIRST_OF_A_TRAIL = 100
COUNT_CAP = 10_000
WORKER_SILENCE = timedelta(minutes=1)


@dataclass(frozen=True)
class Health:
    """The state of the inbox at one moment."""

    counts: dict[str, int]  # by state, capped at COUNT_CAP
    oldest_due: datetime | None
    last_delivery: datetime | None
    worker_seen: datetime | None
    due_without_worker: bool
    rejected_recently: int


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

    first: Sequence[AuditEntry]
    left_out: int = 0
    latest: Sequence[AuditEntry] = ()

    def __iter__(self) -> Iterator[AuditEntry]:
        return chain(self.first, self.latest)

    def lines(self, line: Callable[[AuditEntry], str]) -> list[str]:
        """As text, with a word about what is left out."""
        gap = [f"({self.left_out:,} entries in between are left out)"] if self.left_out else []
        return [*map(line, self.first), *gap, *map(line, self.latest)]


def find_event(session: Session, reference: str) -> StoredEvent | None:
    """By event ID, or by `#` and the row's number, which quarantined bodies have instead."""
    if reference.startswith("#") and reference[1:].isdigit() and len(reference) < 19:
        return session.get(StoredEvent, int(reference[1:]))
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


def health(inbox: Inbox, *, window: timedelta = timedelta(minutes=10)) -> Health:
    """Counts, backlog, and whether anybody works on it."""
    now = inbox.clock.now()
    with reading(inbox.engine) as session:
        oldest_due = session.scalar(
            sa.select(sa.func.min(StoredEvent.due_at))
            .where(StoredEvent.state == sa.literal_column("'pending'"), StoredEvent.due_at <= inbox.now())
            .with_hint(StoredEvent, "INDEXED BY ix_events_due", "sqlite")
        )
        worker_seen = _worker_seen(session)
        rejected = session.scalar(
            sa.select(sa.func.coalesce(sa.func.sum(AuditEntry.occurrences), 0)).where(
                # A value, which the planner can judge: how few rows lie behind an expression it can't know.
                AuditEntry.at > now - window,
                AuditEntry.result.like("rejected: %"),
            )
        )
        return Health(
            counts={state.value: _count(session, state) for state in State},
            oldest_due=oldest_due,
            last_delivery=session.scalar(sa.select(sa.func.max(StoredEvent.received_at))),
            worker_seen=worker_seen,
            due_without_worker=bool(oldest_due and _is_silent(worker_seen, now)),
            rejected_recently=int(rejected or 0),
        )


def no_worker_seen(inbox: Inbox) -> bool:
    """Whether no worker was seen for a minute."""
    with reading(inbox.engine) as session:
        return _is_silent(_worker_seen(session), inbox.clock.now())


def takes_writes(inbox: Inbox) -> str | None:
    """None when the database takes writes and its schema serves this build; else a reason code."""
    with writing(inbox.engine) as session:
        on_postgresql = session.get_bind().dialect.name == "postgresql"
        if on_postgresql and session.scalar(sa.text("SHOW transaction_read_only")) == "on":
            return "read_only"
        return schema_problem(session) or environment_problem(session, inbox.settings.environment)


def schema_problem(session: Session) -> str | None:
    """None when the schema is at this build's revision or beyond it (a newer release has migrated)."""
    if not sa.inspect(session.connection()).has_table("alembic_version"):
        return "not_migrated"
    revision = session.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if revision is None:
        return "not_migrated"
    return "behind" if revision in _older_revisions() else None


def environment_problem(session: Session, environment: str) -> str | None:
    """`live` refuses a database that holds sandbox events (§8.3)."""
    if environment != "live":
        return None
    sandbox = sa.select(StoredEvent.id).where(StoredEvent.environment == sa.literal_column("'sandbox'"))
    return "holds_sandbox_events" if session.scalar(sandbox.limit(1)) else None


@cache
def _older_revisions() -> frozenset[str]:
    """Revisions that this build knows and that its head follows. An unknown one is a newer build's."""
    scripts = ScriptDirectory.from_config(_alembic_config())
    try:
        history = [script.revision for script in scripts.walk_revisions()]
    except CommandError:
        return frozenset()
    return frozenset(history[1:])


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return config


def _worker_seen(session: Session) -> datetime | None:
    return session.scalar(sa.select(sa.func.max(Heartbeat.seen_at)).where(Heartbeat.worker != "purge"))


def _is_silent(worker_seen: datetime | None, now: datetime) -> bool:
    return worker_seen is None or now - worker_seen > WORKER_SILENCE


def _count(session: Session, state: State) -> int:
    capped = sa.select(StoredEvent.id).where(StoredEvent.state == state).limit(COUNT_CAP).subquery()
    return session.scalar(sa.select(sa.func.count()).select_from(capped)) or 0


def _bound(before: tuple[datetime, int]) -> tuple[sa.ColumnElement[datetime], sa.ColumnElement[int]]:
    return (
        sa.bindparam(None, before[0], StoredEvent.received_at.type, unique=True),
        sa.bindparam(None, before[1], sa.BigInteger(), unique=True),
    )
