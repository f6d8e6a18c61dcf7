"""One attempt: the event in clear text, its handler under a time limit, and what came of it.

Everything happens in a transaction that somebody else began, behind a savepoint: work that failed is undone to there.
What a failure means for the event (try again, later, or dead) is decided here, and the states stand in lifecycle.py.
"""

import traceback
from contextlib import suppress
from typing import NamedTuple

import structlog

from app.inbox.claims import Claim
from app.inbox.context import Inbox
from app.inbox.handler_session import HandlerSession
from app.inbox.lifecycle import NOT_YET, State, backoff
from app.inbox.masked import masked_text
from app.inbox.time_limit import HandlerTimeout, TimeLimit
from app.logs import log_attempt
from app.privacy.masking import hidden_values, mask_text
from app.privacy.sealing import CannotUnseal, unseal
from app.protocol.envelope import Event
from app.protocol.errors import UnusablePayload
from app.registry import PermanentFailure, RetryLater, handler_for

HOPELESS = (PermanentFailure, CannotUnseal, UnusablePayload)
RETRY_LATER = "retry later"
"""The result of an attempt whose handler raised RetryLater."""
log = structlog.get_logger()


class Failure(NamedTuple):
    """Why an attempt failed, as people may see it: masked."""

    error: str
    traceback: str


class Outcome(NamedTuple):
    """What became of one attempt, and what is to be settled with it."""

    claim: Claim
    result: str
    state: State
    duration_ms: int
    event: Event | None = None
    masked: str | None = None  # the masked payload, where the row has none yet
    failure: Failure | None = None
    retry_in: float | None = None  # seconds
    is_charged: bool = True  # False: the attempt does not count

    def log(self) -> None:
        """One line (§9.2); a failure brings its traceback."""
        log_attempt(
            self.result,
            self.claim.event_id,
            self.claim.event_type,
            attempt=self.claim.attempt,
            duration_ms=self.duration_ms,
            exception=self.failure.traceback if self.failure and self.is_charged else None,
        )


def run(inbox: Inbox, session: HandlerSession, claim: Claim, limit: TimeLimit) -> Outcome:
    """Run the handler once, in the session's transaction. What fails is undone, and nothing else of it.

    Raises whatever the handler raises, HandlerTimeout, HandBack, CannotUnseal and UnusablePayload.
    """
    started = inbox.stopwatch()
    with session.guarded():
        event, body = _open(inbox, claim)
        masked = _masked(inbox, claim, event, body)
        handler = handler_for(event.type)
        session.ready()
        if handler is not None:
            with limit.of(inbox.settings.handler_timeout, session.interrupt):
                handler(event, session)
                session.flush()
    result, state = ("unhandled", State.UNHANDLED) if handler is None else ("processed", State.PROCESSED)
    return Outcome(claim, result, state, _since(inbox, started), event, masked)


def failed(inbox: Inbox, claim: Claim, error: BaseException, *, since: float | None = None) -> Outcome:
    """What the error means for the event."""
    masked, hidden = None, set[str]()
    with suppress(CannotUnseal, UnusablePayload):
        event, body = _open(inbox, claim)
        hidden = hidden_values(dict(event.payload))  # a name looks like any other word
        masked = _masked(inbox, claim, event, body)
    result, state, retry_in = "failed", State.PENDING, None
    if isinstance(error, RetryLater):
        result, retry_in = RETRY_LATER, error.seconds
    elif claim.attempt >= inbox.settings.max_attempts or isinstance(error, HOPELESS):
        result, state = "dead", State.DEAD
    else:
        retry_in = backoff(claim.attempt, inbox.random)
    duration, failure = 0 if since is None else _since(inbox, since), _described(error, hidden)
    return Outcome(claim, result, state, duration, None, masked, failure, retry_in, result != RETRY_LATER)


def _open(inbox: Inbox, claim: Claim) -> tuple[Event, bytes]:
    """The event in clear text. Raises CannotUnseal or UnusablePayload, which no further attempt can mend."""
    if claim.sealed_payload is None:
        raise CannotUnseal("erased")
    body = unseal(claim.sealed_payload, row=claim.seal_id, keys=inbox.settings.payload_keys)
    return inbox.settings.read_event(body, claim.received_at), body


def _masked(inbox: Inbox, claim: Claim, event: Event, body: bytes) -> str | None:
    return None if claim.masked else masked_text(inbox.settings, event.payload, body)


def _since(inbox: Inbox, started: float) -> int:
    return round((inbox.stopwatch() - started) * 1000)


def _described(error: BaseException, hidden: set[str]) -> Failure:
    name = NOT_YET if isinstance(error, RetryLater) else type(error).__name__
    try:
        text = "the handler reached its time limit" if isinstance(error, HandlerTimeout) else str(error)
        lines = "".join(traceback.format_exception(error))
    except Exception:  # an error of the partner's, whose own words fail
        text, lines = "", name
    text = f"{name}: {text}" if text else name
    return Failure(mask_text(text, hidden=hidden)[:2000], mask_text(lines, hidden=hidden)[-20_000:])
