"""Runs handlers: one attempt of one event, settled in the transaction of the handler's own writes.

`process_next()` is the worker's whole life. Failed work is rolled back; the record of the failure is not. What
a failure means for the event (try again, or dead) is decided here, and the states stand in lifecycle.py.
"""

import time
import traceback
from contextlib import suppress
from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.database import is_lock_conflict, writing
from app.inbox.claims import Claim, LeaseLost, claim_due, hand_back, record_attempt, settle
from app.inbox.context import Inbox
from app.inbox.handler_session import HandlerSession
from app.inbox.lifecycle import State, backoff
from app.inbox.observations import observe
from app.inbox.time_limit import HandBack, HandlerTimeout, TimeLimit
from app.privacy.masking import hidden_values, mask_text
from app.privacy.sealing import CannotUnseal, unseal
from app.protocol.envelope import Event, parse_event
from app.protocol.errors import UnusablePayload
from app.registry import PermanentFailure, handler_for

log = structlog.get_logger()

CONFLICTS_BEFORE_LOCKING = 3
HOPELESS = (PermanentFailure, CannotUnseal, UnusablePayload)


class BatchInterrupted(Exception):
    """The database went away in the middle of a batch, while the attempt of the row `begun` was under way."""

    def __init__(self, begun: int) -> None:
        super().__init__("the database went away")
        self.begun = begun


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, as people may see it: masked."""

    error: str
    traceback: str


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt."""

    result: str
    state: State
    failure: Failure | None = None
    retry_in: float | None = None


def process_next(inbox: Inbox, worker: str, limit: TimeLimit) -> int:
    """Claim a batch and run it. Returns how many events were claimed.

    Raises HandBack when the worker has to stop, and BatchInterrupted when the database is lost on the way.
    """
    claims = claim_due(inbox, worker)
    for position, claim in enumerate(claims):
        try:
            limit.begin(claim.inbox_id)
            attempt(inbox, claim, limit)
        except HandBack:
            hand_back(inbox, claims[position:])
            raise
        except SQLAlchemyError as error:
            raise BatchInterrupted(claim.inbox_id) from error
    return len(claims)


def attempt(inbox: Inbox, claim: Claim, limit: TimeLimit) -> Outcome | None:
    """Run the handler once and settle. None when the claim was lost: then nothing was changed."""
    started = time.monotonic()
    try:
        outcome = _run(inbox, claim, limit, started)
    except LeaseLost:
        _log_attempt(claim, Outcome("lease lost", State.PENDING), started)
        return None
    _log_attempt(claim, outcome, started)
    return outcome


def open_event(inbox: Inbox, claim: Claim) -> Event:
    """The event in clear text. Raises CannotUnseal or UnusablePayload, which no further attempt can mend."""
    if claim.sealed_payload is None:
        raise CannotUnseal("erased")
    body = unseal(claim.sealed_payload, row=claim.seal_id, keys=inbox.settings.payload_keys)
    return parse_event(body, inbox.settings.payload_fields)


def _run(inbox: Inbox, claim: Claim, limit: TimeLimit, started: float) -> Outcome:
    """Attempts until no lock conflict is in the way: a conflict is nobody's failure, an endless one is."""
    for conflicts in range(2 * CONFLICTS_BEFORE_LOCKING):
        try:
            return _run_once(inbox, claim, limit, started, lock_first=conflicts >= CONFLICTS_BEFORE_LOCKING)
        except (LeaseLost, HandBack):
            raise
        except (Exception, HandlerTimeout) as error:
            if not (isinstance(error, sa.exc.DBAPIError) and is_lock_conflict(error)):
                return _record_failure(inbox, claim, error, started)
    return _record_failure(inbox, claim, TimeoutError("no end of lock conflicts"), started)


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


def _record_failure(inbox: Inbox, claim: Claim, error: BaseException, started: float) -> Outcome:
    """The failed work is rolled back; that it failed is not."""
    failure = _describe(inbox, claim, error)
    if claim.attempt >= inbox.settings.max_attempts or isinstance(error, HOPELESS):
        outcome = Outcome("dead", State.DEAD, failure)
    else:
        outcome = Outcome("failed", State.PENDING, failure, backoff(claim.attempt, inbox.random))
    with writing(inbox.engine) as session:
        _settle(session, inbox, claim, outcome, started)
    return outcome


def _settle(session: Session, inbox: Inbox, claim: Claim, outcome: Outcome, started: float) -> None:
    """Record the outcome, if the claim is still ours. Raises LeaseLost."""
    error = None if outcome.failure is None else outcome.failure.error
    due = {} if outcome.retry_in is None else {"due_at": inbox.now(plus=outcome.retry_in)}
    finished_at = None if outcome.state is State.PENDING else inbox.now()
    settle(session, claim, state=outcome.state, last_error=error, finished_at=finished_at, **due)
    record_attempt(session, inbox, claim, outcome.result, duration_ms=_milliseconds(started), detail=error)


def _describe(inbox: Inbox, claim: Claim, error: BaseException) -> Failure:
    """The error without what masking hides of this event's payload: a name looks like any other word."""
    hidden: set[str] = set()
    with suppress(CannotUnseal, UnusablePayload):
        hidden = hidden_values(dict(open_event(inbox, claim).payload))
    name = type(error).__name__
    text = "the handler reached its time limit" if isinstance(error, HandlerTimeout) else str(error)
    lines = "".join(traceback.format_exception(error))
    return Failure(mask_text(f"{name}: {text}", hidden=hidden)[:2000], mask_text(lines, hidden=hidden)[-20_000:])


def _log_attempt(claim: Claim, outcome: Outcome, started: float) -> None:
    """One line (§9.2); a failure brings its traceback."""
    (log.warning if outcome.failure else log.info)(
        "attempt",
        event_id=claim.event_id,
        event_type=claim.event_type,
        processing_result=outcome.result,
        attempt=claim.attempt,
        duration_ms=_milliseconds(started),
        **({"exception": outcome.failure.traceback} if outcome.failure else {}),
    )


def _milliseconds(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
