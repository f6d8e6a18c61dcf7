"""Runs handlers: claims due events, and settles each claim in the transaction of its handler's own writes.

A claim is a token and a lease. Only the holder of the token may settle; whoever lost it rolls back. The attempt
is charged when it is claimed, so an event that kills its worker runs out of attempts like any other.
"""

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from app.database import is_lock_conflict, writing
from app.inbox.audit import record
from app.inbox.context import Inbox
from app.inbox.handler_session import HandlerSession
from app.inbox.lifecycle import State, backoff
from app.inbox.models import StoredEvent
from app.inbox.observations import observe
from app.inbox.time_limit import HandBack, HandlerTimeout, TimeLimit
from app.privacy.masking import mask_text
from app.privacy.sealing import CannotUnseal, unseal
from app.protocol.envelope import Event, parse_event
from app.protocol.errors import UnusablePayload
from app.registry import PermanentFailure, handler_for

log = structlog.get_logger()

LEASE_MARGIN_SECONDS = 15.0
CONFLICTS_BEFORE_LOCKING = 3
HOPELESS = (PermanentFailure, CannotUnseal, UnusablePayload)


class LeaseLost(Exception):
    """Somebody else holds the claim now."""


@dataclass(frozen=True)
class Claim:
    """The right to run one attempt of one event, until the lease ends."""

    inbox_id: int
    token: UUID
    attempt: int
    event_id: str
    event_type: str
    seal_id: UUID
    sealed_payload: bytes | None


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt."""

    result: str
    state: State
    error: str | None = None
    retry_in: float | None = None


def process_next(inbox: Inbox, worker: str, limit: TimeLimit) -> int:
    """Claim a batch and run it. Returns how many events were claimed."""
    claims = claim_due(inbox, worker)
    for position, claim in enumerate(claims):
        try:
            attempt(inbox, claim, limit)
        except HandBack:
            hand_back(inbox, claims[position:])
            raise
    return len(claims)


def claim_due(inbox: Inbox, worker: str) -> list[Claim]:
    """Take the events that are due, oldest first, and commit the claim.

    An event whose lease ran out may have killed its worker: it is taken alone, so that it can't take
    neighbours with it, and it is buried when its attempts are used up.
    """
    with writing(inbox.engine) as session:
        _bury_exhausted(session, inbox)
        token = uuid4()
        claims = _take(session, inbox, worker, token, lost=True, most=1)
        for claim in claims:
            _record_attempt(session, inbox, claim, "worker lost", attempt_number=claim.attempt - 1)
        return claims or _take(session, inbox, worker, token, lost=False, most=inbox.settings.worker_batch)


def attempt(inbox: Inbox, claim: Claim, limit: TimeLimit) -> Outcome | None:
    """Run the handler once and settle. None when the claim was lost: then nothing was changed."""
    started = time.monotonic()
    try:
        outcome = _run(inbox, claim, limit, started)
        if outcome is None:
            outcome = _record_failure(inbox, claim, TimeoutError("no end of lock conflicts"), started)
    except LeaseLost:
        _log_attempt(claim, "lease lost", started)
        return None
    _log_attempt(claim, outcome.result, started)
    return outcome


def hand_back(inbox: Inbox, claims: list[Claim]) -> None:
    """Return unfinished claims: due at once, and the attempt is not charged."""
    with writing(inbox.engine) as session:
        for claim in claims:
            session.execute(
                sa.update(StoredEvent)
                .where(StoredEvent.id == claim.inbox_id, StoredEvent.claim_token == claim.token)
                .values(attempts=StoredEvent.attempts - 1, **_RELEASED)
            )
            _record_attempt(session, inbox, claim, "handed back")


def release_dead_worker(inbox: Inbox, worker: str) -> None:
    """End the leases of a worker that is known to be dead, so that nobody waits for them."""
    with writing(inbox.engine) as session:
        session.execute(
            sa.update(StoredEvent)
            .where(StoredEvent.state == State.PENDING, StoredEvent.claimed_by == worker)
            .values(lease_until=inbox.now(plus=-1))
        )


_RELEASED: dict[str, Any] = {"claim_token": None, "lease_until": None, "claimed_by": None}


def _take(session: Session, inbox: Inbox, worker: str, token: UUID, *, lost: bool, most: int) -> list[Claim]:
    claimable = (
        StoredEvent.claim_token.is_not(None) & (StoredEvent.lease_until <= inbox.now())
        if lost
        else StoredEvent.claim_token.is_(None)
    )
    due = (
        sa.select(StoredEvent.id)
        .where(StoredEvent.state == sa.literal_column("'pending'"), StoredEvent.due_at <= inbox.now(), claimable)
        .order_by(StoredEvent.due_at, StoredEvent.id)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    lease = most * inbox.settings.handler_timeout + LEASE_MARGIN_SECONDS
    rows = session.execute(
        sa.update(StoredEvent)
        .where(StoredEvent.id.in_(sa.select(due.c.id)))
        .values(
            attempts=StoredEvent.attempts + 1,
            claim_token=token,
            claimed_by=worker,
            lease_until=inbox.now(plus=lease),
        )
        .returning(
            StoredEvent.id,
            StoredEvent.attempts,
            StoredEvent.event_id,
            StoredEvent.event_type,
            StoredEvent.seal_id,
            StoredEvent.sealed_payload,
        ),
        execution_options={"synchronize_session": False},
    )
    claims = [Claim(r[0], token, r[1], r[2] or "", r[3] or "", r[4], r[5]) for r in rows]
    return sorted(claims, key=lambda claim: claim.inbox_id)


def _bury_exhausted(session: Session, inbox: Inbox) -> None:
    """Events that lost their last permitted attempt together with its worker are dead."""
    error = "the worker died during every attempt (killed, out of memory, or os._exit in the handler)"
    rows = session.execute(
        sa.update(StoredEvent)
        .where(
            StoredEvent.state == sa.literal_column("'pending'"),
            StoredEvent.claim_token.is_not(None),
            StoredEvent.lease_until <= inbox.now(),
            StoredEvent.attempts >= inbox.settings.max_attempts,
        )
        .values(state=State.DEAD, finished_at=inbox.now(), last_error=error, **_RELEASED)
        .returning(StoredEvent.id, StoredEvent.event_id, StoredEvent.event_type),
        execution_options={"synchronize_session": False},
    ).all()
    for inbox_id, event_id, event_type in rows:
        record(
            session, inbox, "attempt", "dead", event_id=event_id, event_type=event_type, detail=error,
            inbox_id=inbox_id,
        )  # fmt: skip


def _run(inbox: Inbox, claim: Claim, limit: TimeLimit, started: float) -> Outcome | None:
    """Attempts until no lock conflict is in the way; None when there is no end of them."""
    for conflicts in range(2 * CONFLICTS_BEFORE_LOCKING):
        try:
            return _run_once(inbox, claim, limit, started, lock_first=conflicts >= CONFLICTS_BEFORE_LOCKING)
        except sa.exc.DBAPIError as error:
            if not is_lock_conflict(error):
                return _record_failure(inbox, claim, error, started)
        except (LeaseLost, HandBack):
            raise
        except (Exception, HandlerTimeout) as error:
            return _record_failure(inbox, claim, error, started)
    return None


def _run_once(inbox: Inbox, claim: Claim, limit: TimeLimit, started: float, *, lock_first: bool) -> Outcome:
    """The handler's writes, the event's new state and the audit row: one transaction."""
    mode = "IMMEDIATE" if lock_first else "DEFERRED"
    session = HandlerSession(inbox.engine.execution_options(sqlite_begin=mode))
    try:
        event = open_event(inbox, claim)
        handler = handler_for(event.type)
        outcome = Outcome("unhandled", State.UNHANDLED)
        if handler is not None:
            session.guard()
            with limit.of(inbox.settings.handler_timeout):
                handler(event, session)
                session.flush()
            session.release()
            outcome = Outcome("processed", State.PROCESSED)
        _settle(session, inbox, claim, outcome, started)
        session.commit()
    finally:
        session.abandon()
    observe(inbox, event)
    return outcome


def open_event(inbox: Inbox, claim: Claim) -> Event:
    """The event in clear text. Raises CannotUnseal or UnusablePayload, which no further attempt can mend."""
    if claim.sealed_payload is None:
        raise CannotUnseal("erased")
    body = unseal(claim.sealed_payload, row=claim.seal_id, keys=inbox.settings.payload_keys)
    return parse_event(body, inbox.settings.payload_fields)


def _record_failure(inbox: Inbox, claim: Claim, error: BaseException, started: float) -> Outcome:
    """The failed work is rolled back; that it failed is not."""
    text = _describe(error)
    last = claim.attempt >= inbox.settings.max_attempts or isinstance(error, HOPELESS)
    if last:
        outcome = Outcome("dead", State.DEAD, text)
    else:
        outcome = Outcome("failed", State.PENDING, text, backoff(claim.attempt, inbox.random))
    with writing(inbox.engine) as session:
        _settle(session, inbox, claim, outcome, started)
    return outcome


def _settle(session: Session, inbox: Inbox, claim: Claim, outcome: Outcome, started: float) -> None:
    """Record the outcome, if the claim is still ours. Raises LeaseLost."""
    finished = outcome.state is not State.PENDING
    values: dict[str, Any] = {"state": outcome.state, "last_error": outcome.error, **_RELEASED}
    values["finished_at"] = inbox.now() if finished else None
    if outcome.retry_in is not None:
        values["due_at"] = inbox.now(plus=outcome.retry_in)
    settled = session.execute(
        sa.update(StoredEvent)
        .where(StoredEvent.id == claim.inbox_id, StoredEvent.claim_token == claim.token)
        .values(values)
        .returning(StoredEvent.id),
        execution_options={"synchronize_session": False},
    ).all()
    if not settled:
        raise LeaseLost
    _record_attempt(session, inbox, claim, outcome.result, started=started, detail=outcome.error)


def _record_attempt(
    session: Session,
    inbox: Inbox,
    claim: Claim,
    result: str,
    *,
    started: float | None = None,
    detail: str | None = None,
    attempt_number: int | None = None,
) -> None:
    record(
        session,
        inbox,
        "attempt",
        result,
        event_id=claim.event_id,
        event_type=claim.event_type,
        actor=f"attempt {attempt_number or claim.attempt}",
        duration_ms=None if started is None else _milliseconds(started),
        detail=detail,
        inbox_id=claim.inbox_id,
    )


def _log_attempt(claim: Claim, result: str, started: float) -> None:
    log.info(
        "attempt",
        event_id=claim.event_id,
        event_type=claim.event_type,
        processing_result=result,
        attempt=claim.attempt,
        duration_ms=_milliseconds(started),
    )


def _milliseconds(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _describe(error: BaseException) -> str:
    if isinstance(error, HandlerTimeout):
        return "HandlerTimeout: the handler reached its time limit"
    return mask_text(f"{type(error).__name__}: {error}")[:2000]
