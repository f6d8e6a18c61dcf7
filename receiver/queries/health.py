"""What the page, the commands, /metrics and /readyz ask about the inbox. Nothing here writes."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from receiver.database.causes import cause_of
from receiver.database.columns import UtcDateTime
from receiver.database.engine import is_pooled, knows_sessions, reading
from receiver.privacy.masking import masking_self_test
from receiver.queries.conditions import Failing, Health, Limits, NewTypes
from receiver.queries.connections import connections
from receiver.queries.count import COUNT_CAP, Count, cap_for
from receiver.queries.disk import disk
from receiver.queries.filters import Filter
from receiver.queries.index_pieces import branch, counted, failing_branch
from receiver.queries.pauses import present_pauses
from receiver.queries.secrets import secrets_in_use
from receiver.queries.workers import WORKER_SILENCE, is_worker
from receiver.store.audit import REFUSED_UNREAD, WRONG_PATH
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import NOT_YET, State
from receiver.store.models import AuditEntry, Heartbeat, Observation, StoredEvent, SummedUntil
from receiver.store.pauses import held_up, paused_types
from receiver.store.schema import takes_writes
from receiver.store.type_label import type_label
from receiver.typed_data import DataDoesNotFit

TEN_MINUTES, HOUR = timedelta(minutes=10), timedelta(hours=1)
NEWEST = 20
LONGEST_ERROR = 200
MOST_UNHANDLED = 1000
"""So many of the newest unhandled events are looked at for types that are new."""
MOST_TYPES = 50
DEFAULT_LIMITS = Limits()


def seen_types(session: Session) -> Sequence[str]:
    """The event types that ever came, for a person to choose from."""
    types = sa.select(Observation.name).where(Observation.kind == "type").order_by(Observation.name)
    return session.scalars(types.limit(200)).all()


def health(inbox: Inbox, limits: Limits = DEFAULT_LIMITS, *, count_to: int = COUNT_CAP) -> Health:
    """The facts that conditions.py judges. Counts reach as far as the limits, and at least to `count_to`."""
    now, problem = inbox.clock.now(), _problem(inbox)
    with reading(inbox.engine) as session:
        paused = paused_types(session)
        oldest_due, worker_seen = _oldest_due(session, inbox, paused), _worker_seen(session)
        until = session.scalars(sa.select(SummedUntil)).one()
        newest_received = session.scalar(
            sa.select(StoredEvent.received_at)
            .where(StoredEvent.caused_by.is_(None))
            .order_by(StoredEvent.received_at.desc())
            .limit(1)
        )
        newest = list(session.scalars(branch({}, None, None).with_only_columns(StoredEvent.state).limit(NEWEST)))
        failing, waiting = _failing(session, cap_for(limits.failing, count_to), paused)
        wrong_paths, wrong_path = _wrong_paths(session, now - HOUR)
        rejected, refused_unread = _refused(session, now - TEN_MINUTES)
        return Health(
            now=now,
            problem=problem,
            counts=_counts(session, cap_for(limits.dead, count_to)),
            quarantined=_quarantined(session, now - limits.quarantined_within, cap_for(limits.quarantined)),
            newest=len(newest),
            newest_quarantined=newest.count(State.QUARANTINED),
            failing=failing,
            waiting=waiting,
            misfits=_misfits(session),
            oldest_due=oldest_due,
            worker_seen=worker_seen,
            workers=_workers(session, now),
            due_without_worker=bool(oldest_due and _is_silent(worker_seen, now)),
            last_delivery=max(filter(None, (newest_received, until.last_good_at)), default=None),
            rejected=rejected,
            refused_unread=refused_unread,
            refused_in_a_row=until.failed_in_a_row,
            last_good_answer=until.last_good_at,
            wrong_paths=wrong_paths,
            wrong_path=wrong_path,
            right_path=inbox.settings.webhook_path,
            connections=connections(session) if knows_sessions(inbox.engine) else None,
            behind_pooler=is_pooled(inbox.engine),
            disk=disk(session),
            new_types=_new_types(session, inbox, now - limits.new_type_for),
            secrets=secrets_in_use(session, inbox.settings),
            paused=present_pauses(session),
            unmasked=masking_self_test(),
        )


def _worker_seen(session: Session) -> datetime | None:
    return session.scalar(sa.select(sa.func.max(Heartbeat.seen_at)).where(is_worker()))


def _workers(session: Session, now: datetime) -> int:
    """How many worker processes live."""
    return session.scalar(sa.select(sa.func.count()).where(is_worker(), Heartbeat.seen_at > now - WORKER_SILENCE)) or 0


def _is_silent(worker_seen: datetime | None, now: datetime) -> bool:
    return worker_seen is None or now - worker_seen > WORKER_SILENCE


def _problem(inbox: Inbox) -> str | None:
    try:
        return takes_writes(inbox)
    except SQLAlchemyError as error:
        return cause_of(error)


def _oldest_due(session: Session, inbox: Inbox, paused: Collection[str]) -> datetime | None:
    """Of what no pause holds up. The state is a literal, and SQLite is told, so that the partial index serves it."""
    due = (StoredEvent.state == sa.literal_column("'pending'")) & (StoredEvent.due_at <= inbox.now())
    oldest = sa.select(StoredEvent.due_at).where(due, ~held_up(paused)).order_by(StoredEvent.due_at).limit(1)
    return session.scalar(oldest.with_hint(StoredEvent, "INDEXED BY ix_events_due", "sqlite"))


def _counts(session: Session, cap: int) -> dict[State, Count]:
    """How many events each state has. What is processed or dismissed grows for ever, and its number needs no person."""
    caps = {state: COUNT_CAP if state in (State.PROCESSED, State.DISMISSED) else cap for state in State}
    rows = {state: sa.select(StoredEvent.id).where(StoredEvent.state == state) for state in State}
    return {state: counted(session, rows[state], caps[state]) for state in State}


def _quarantined(session: Session, since: datetime, cap: int) -> dict[str, Count]:
    """How many deliveries since then are quarantined, by the reason."""
    rows = branch({"state": State.QUARANTINED}, (since, 0), None, down=False)
    reasons = rows.with_only_columns(StoredEvent.quarantine_reason).limit(cap + 1).subquery()
    by_reason = sa.select(reasons.c.quarantine_reason, sa.func.count()).group_by(reasons.c.quarantine_reason)
    found: dict[str | None, int] = dict(iter(session.execute(by_reason)))
    is_capped = sum(found.values()) > cap
    return {reason or "unusable": Count(min(number, cap), is_capped) for reason, number in found.items()}


def _misfits(session: Session) -> dict[str, int]:
    """How many of the latest dead events have data that does not fit, by their type. Odd types are counted together."""
    dead = branch({"state": State.DEAD}, None, None).limit(COUNT_CAP)
    rows = dead.with_only_columns(StoredEvent.event_type, StoredEvent.last_error).subquery()
    misfit = rows.c.last_error.startswith(DataDoesNotFit.__name__)
    by_type = sa.select(rows.c.event_type, sa.func.count()).where(misfit).group_by(rows.c.event_type)
    found = Counter[str]()
    for event_type, number in session.execute(by_type):
        found[type_label(event_type)] += number
    return dict(found.most_common(MOST_TYPES))


def _failing(session: Session, cap: int, paused: Collection[str]) -> tuple[Failing, Failing]:
    """Events whose last attempt failed, and events that are put off; looked at are those that came first.

    What a pause holds up is left out.
    """
    rows = failing_branch(Filter(), None, None, down=False).where(~held_up(paused)).limit(cap + 1)
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


def _new_types(session: Session, inbox: Inbox, since: datetime) -> NewTypes:
    """Types of events that wait as unhandled, of those that were seen first since then."""
    newest = branch({"state": State.UNHANDLED}, (since, 0), None).where(StoredEvent.caused_by.is_(None))
    rows = newest.with_only_columns(StoredEvent.event_type).limit(MOST_UNHANDLED + 1).subquery()
    by_type = session.execute(sa.select(rows.c.event_type, sa.func.count()).group_by(rows.c.event_type)).all()
    waiting = {inbox.settings.showing(event_type): number for event_type, number in by_type if event_type}
    is_new = (Observation.kind == "type") & (Observation.first_seen_at > since) & Observation.name.in_(waiting)
    names = session.scalars(sa.select(Observation.name).where(is_new).order_by(Observation.name).limit(MOST_TYPES))
    found = names.all() if waiting else ()
    number, is_capped = sum(waiting[name] for name in found), sum(waiting.values()) > MOST_UNHANDLED
    return NewTypes(found, Count(number, is_capped))


def _refused(session: Session, since: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """How many deliveries were answered 401, and how many were refused unread, each by the reason."""
    number = sa.func.sum(AuditEntry.occurrences)
    sums = sa.select(AuditEntry.result, number).where(_rejected(since), AuditEntry.result != WRONG_PATH)
    rejected, unread = dict[str, int](), dict[str, int]()
    for result, occurrences in session.execute(sums.group_by(AuditEntry.result)):
        reason = result.partition(": ")[2]
        (unread if reason in REFUSED_UNREAD else rejected)[reason] = int(occurrences)
    return rejected, unread


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
