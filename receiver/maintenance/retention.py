"""What is kept for how long, in every state: sealed payloads first, masked ones later, the audit log last.

The event ID outlives its payload as a tombstone, so that a late duplicate is still a duplicate. Pending events are kept
whole, however old: they still have work to do. So are the events of people on hold (receiver/store/person_holds.py).

A worker also has events to process. So it works in short turns, which are bounded by number and by time. Only one
worker has the turn at a time: it reserves the turn for the longest time that a turn can last, and gives the rest back.
In a turn, each rule does one portion, again and again, so that no rule waits for the end of another. A rule that fails
is logged, and stops no other rule. The hour is done when no rule has anything left to do.

To add a rule, write a function that does one portion, and add it to `RULES`. Its search needs an index.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from receiver.database.causes import cause_of
from receiver.database.engine import writing
from receiver.privacy.sealing import CannotUnseal, unseal
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.masked import masked_body
from receiver.store.models import (
    PURGE,
    UNPARSED_DAYS,
    AttemptSum,
    AuditEntry,
    CapturedDelivery,
    Heartbeat,
    HourlySum,
    StoredEvent,
)
from receiver.store.person_holds import held_digests, is_held
from receiver.store.person_index import forget_tombstones

log = structlog.get_logger()

PORTION = 500
TURN_SECONDS = 0.5
MASKING_SECONDS = 0.5
STATEMENT_SECONDS = 5
LONGEST_TURN_SECONDS = 120
"""After so long a turn is over, or its worker is dead. Each rule has a few statements, which have a time limit."""
PAUSE_SECONDS = 2
PAUSE_AFTER_FAILURE_SECONDS = 300
SUMS_DAYS = 400
ATTEMPT_SUMS_DAYS = 32
DAY = 86400.0
PURGE_LOCK = 0x5E4A46
PURGE_INTERVAL_SECONDS = 3600


@dataclass(frozen=True)
class Purged:
    """How many rows were touched, and which rules failed."""

    sealed: int = 0
    masked: int = 0
    audit: int = 0
    captures: int = 0
    failed: list[str] = field(default_factory=list)


class Portion(NamedTuple):
    """How many rows a rule touched, and whether there are more."""

    rows: int
    more: bool


def purge(inbox: Inbox, *, actor: str) -> Purged:
    """Erase everything that is older than the retention settings allow."""
    done, _ = _work_off(inbox, actor, seconds=math.inf, stopwatch=time.monotonic)
    return done


def purge_if_due(inbox: Inbox, *, actor: str, stopwatch: Callable[[], float] = time.monotonic) -> bool:
    """Take a turn, unless another worker has one, or all was done within the hour. Says whether there is more to do.

    Raises SQLAlchemyError when the turn can't be taken or given back.
    """
    with writing(inbox.engine) as session:
        if not _take_turn(session, inbox):
            return False
    done, more = _work_off(inbox, actor, seconds=TURN_SECONDS, stopwatch=stopwatch)
    pause = PAUSE_AFTER_FAILURE_SECONDS if done.failed else PAUSE_SECONDS
    all_done = {} if done.failed or more else {"seen_at": inbox.now()}
    with writing(inbox.engine) as session:
        session.execute(_of_turn().values(started_at=inbox.now(plus=pause), **all_done))
    return more


def _work_off(inbox: Inbox, actor: str, seconds: float, stopwatch: Callable[[], float]) -> tuple[Purged, bool]:
    """Do one portion of each rule in turn, until nothing is left to do or the time is up."""
    touched, failed, left, ends_at = Counter[str](), list[str](), dict(RULES), stopwatch() + seconds
    while left and stopwatch() < ends_at:
        for name, rule in list(left.items()):
            try:
                rows, more = _one_portion(inbox, rule)
            except Exception as error:  # one bad row stops only one rule
                log.error("purge_failed", rule=name, error=cause_of(error))
                failed.append(name)
                rows, more = 0, False
            touched[name] += rows
            if not more:
                del left[name]
    sealed = touched["sealed"] + touched["unparsed"]
    done = Purged(sealed, touched["masked"], touched["audit"], touched["captures"], failed)
    _record(inbox, actor, done)
    return done, bool(left)


def _one_portion(inbox: Inbox, rule: "Rule") -> Portion:
    with writing(inbox.engine) as session:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(sa.text(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'"))
        return rule(session, inbox)


def _record(inbox: Inbox, actor: str, done: Purged) -> None:
    counts = {name: count for name, count in asdict(done).items() if name != "failed"}
    if any(counts.values()):
        detail = ", ".join(f"{name} {count}" for name, count in counts.items())
        with writing(inbox.engine) as session:
            record(session, inbox, "purge", "purged", actor=actor, detail=detail)


def _erase_sealed(session: Session, inbox: Inbox) -> Portion:
    days = inbox.settings.payload_retention_days
    sealed = StoredEvent.sealed_payload.is_not(None) & _nobody_holds(session, inbox)
    return _erase(session, inbox, sealed, "ix_events_sealed", days, _WITHOUT_SEALED)


def _erase_unparsed(session: Session, inbox: Inbox) -> Portion:
    """Nobody knows whom they name, and they may hold card authentication data: no hold keeps them."""
    unparsed = sa.literal_column("NOT events.parsed") & StoredEvent.sealed_payload.is_not(None)
    return _erase(session, inbox, unparsed, "ix_events_unparsed", UNPARSED_DAYS, _WITHOUT_SEALED)


def _erase_masked(session: Session, inbox: Inbox) -> Portion:
    """Masked payloads are kept at least as long as sealed ones, so the sealed one is gone (see config.py)."""
    days, erased = inbox.settings.masked_retention_days, StoredEvent.sealed_payload.is_(None)
    masked = erased & StoredEvent.masked_payload.is_not(None) & _nobody_holds(session, inbox)
    return _erase(session, inbox, masked, "ix_events_masked", days, {"masked_payload": None})


def _nobody_holds(session: Session, inbox: Inbox) -> sa.ColumnElement[bool]:
    """Raises HoldsUnknown, and CannotUnseal: then nothing is erased."""
    return ~is_held(held_digests(session, inbox.settings))


def _erase(
    session: Session, inbox: Inbox, which: sa.ColumnElement[bool], index: str, days: int, values: dict[str, Any]
) -> Portion:
    """Locked rows are somebody's at this moment, who makes them due again say. They are found the next time."""
    found = session.execute(
        sa.select(StoredEvent.id, StoredEvent.masked_payload.is_(None))
        .where(_NOT_PENDING, which, StoredEvent.received_at < inbox.now(plus=-days * DAY))
        .order_by(StoredEvent.received_at, StoredEvent.id)
        .with_hint(StoredEvent, f"INDEXED BY {index}", "sqlite")
        .limit(PORTION)
        .with_for_update(skip_locked=True)
    ).all()
    left = _mask(session, inbox, [row_id for row_id, is_unmasked in found if is_unmasked])
    rows = [row_id for row_id, _ in found if row_id not in left]
    if rows:
        session.execute(
            sa.update(StoredEvent).where(StoredEvent.id.in_(rows)).values(values),
            execution_options={"synchronize_session": False},
        )
        forget_tombstones(session, rows)
    return Portion(len(rows), bool(left) or len(found) == PORTION)


def _mask(session: Session, inbox: Inbox, rows: list[int]) -> set[int]:
    """Mask payloads that were never masked, because no attempt came to an end. Returns the rows that had to wait."""
    ends_at = time.monotonic() + MASKING_SECONDS
    for place, row_id in enumerate(rows):
        if time.monotonic() > ends_at:
            return set(rows[place:])
        row = session.get_one(StoredEvent, row_id)
        with suppress(CannotUnseal):
            body = unseal(row.sealed_payload or b"", row=row.seal_id, keys=inbox.settings.payload_keys)
            row.masked_payload = masked_body(inbox.settings, body, is_ours=row.is_follow_up, is_parsed=row.parsed)
        session.flush()
        session.expunge(row)
    return set()


def _delete_audit(session: Session, inbox: Inbox) -> Portion:
    """Delete old audit rows. The database's own stamp says how old a row is: it refuses to delete younger rows."""
    horizon = inbox.now(plus=-inbox.settings.audit_retention_days * DAY)
    old = (AuditEntry.at < horizon) & (sa.func.coalesce(AuditEntry.recorded_at, AuditEntry.at) < horizon)
    return _delete(session, AuditEntry.id, old, AuditEntry.at, AuditEntry.id)


def _delete_captures(session: Session, inbox: Inbox) -> Portion:
    return _delete(session, CapturedDelivery.id, CapturedDelivery.captured_at < inbox.now(plus=-DAY))


def _delete_heartbeats(session: Session, inbox: Inbox) -> Portion:
    return _delete(session, Heartbeat.worker, (Heartbeat.seen_at < inbox.now(plus=-DAY)) & (Heartbeat.worker != PURGE))


def _delete_sums(session: Session, inbox: Inbox) -> Portion:
    """An hour at a time."""
    old = HourlySum.hour < inbox.now(plus=-SUMS_DAYS * DAY)
    return _delete(session, HourlySum.hour, old, HourlySum.hour, most=1)


def _delete_attempt_sums(session: Session, inbox: Inbox) -> Portion:
    """An hour at a time. The page looks back for 30 days."""
    old = AttemptSum.hour < inbox.now(plus=-ATTEMPT_SUMS_DAYS * DAY)
    return _delete(session, AttemptSum.hour, old, AttemptSum.hour, most=1)


def _delete(session: Session, key: Any, old: sa.ColumnElement[bool], *order: Any, most: int = PORTION) -> Portion:
    """Delete the rows with the first keys that are old."""
    found = session.scalars(sa.select(key).where(old).order_by(*order).limit(most)).all()
    if found:
        delete = sa.delete(key.class_).where(key.in_(found))
        session.execute(delete, execution_options={"synchronize_session": False})
    return Portion(len(found), len(found) == most)


Rule = Callable[[Session, Inbox], Portion]
RULES: dict[str, Rule] = {
    "sealed": _erase_sealed,
    "unparsed": _erase_unparsed,
    "masked": _erase_masked,
    "audit": _delete_audit,
    "captures": _delete_captures,
    "heartbeats": _delete_heartbeats,
    "sums": _delete_sums,
    "attempt sums": _delete_attempt_sums,
}
_WITHOUT_SEALED: dict[str, Any] = {"sealed_payload": None, "sealing_key": None}
_NOT_PENDING = StoredEvent.state != sa.literal_column("'pending'")  # a literal, so that the partial indexes serve it


def _take_turn(session: Session, inbox: Inbox) -> bool:
    """Reserve the turn, for as long as one can last. The advisory lock keeps two workers apart who ask at once.

    The turn is a heartbeat row named "purge". Its `seen_at` is when all was done. No turn begins before its
    `started_at`.
    """
    try_lock = sa.select(sa.func.pg_try_advisory_xact_lock(PURGE_LOCK))
    if session.get_bind().dialect.name == "postgresql" and not session.scalar(try_lock):
        return False
    turn, now = session.get(Heartbeat, PURGE), inbox.clock.now()
    again_at = inbox.now(plus=LONGEST_TURN_SECONDS)
    if turn is None:
        never = inbox.now(plus=-PURGE_INTERVAL_SECONDS)
        session.execute(sa.insert(Heartbeat).values(worker=PURGE, started_at=again_at, seen_at=never))
        return True
    if now < turn.started_at or (now - turn.seen_at).total_seconds() < PURGE_INTERVAL_SECONDS:
        return False
    session.execute(_of_turn().values(started_at=again_at), execution_options={"synchronize_session": False})
    return True


def _of_turn() -> sa.Update:
    return sa.update(Heartbeat).where(Heartbeat.worker == PURGE)
