"""One attempt: the event in clear text, its handler under a time limit, and what came of it.

Everything happens in a transaction that somebody else began, behind a savepoint: work that failed is undone to there.
What a failure means for the event (try again, later, or dead) is decided here, and the states stand in lifecycle.py.
"""

from contextlib import suppress
from typing import Any, NamedTuple

import structlog

from receiver.database.causes import cause_of, is_databases
from receiver.logs import log_attempt
from receiver.privacy.errors import message, summary, trace
from receiver.privacy.masking import hidden_values
from receiver.privacy.sealing import CannotUnseal, unseal
from receiver.protocol.envelope import Event
from receiver.protocol.errors import UnusablePayload
from receiver.registry import PermanentFailure, RetryLater, handler_for, spoken_errors
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import NOT_YET, State, backoff
from receiver.store.masked import masked_text
from receiver.worker.leases import Lease
from receiver.worker.session import HandlerMisuse, HandlerSession, SwallowedError
from receiver.worker.time_limit import HandlerTimeout, TimeLimit

HOPELESS = (PermanentFailure, CannotUnseal, UnusablePayload)
OURS = (HandlerMisuse, SwallowedError, HandlerTimeout, CannotUnseal, UnusablePayload)
"""Errors whose words are ours, and quote nothing."""
RETRY_LATER = "retry later"
"""The result of an attempt whose handler raised RetryLater."""
log = structlog.get_logger()


class Failure(NamedTuple):
    """Why an attempt failed, as people may see it."""

    error: str
    traceback: str


class Outcome(NamedTuple):
    """What became of one attempt, and what is to be settled with it."""

    lease: Lease
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
            self.lease.event_id,
            self.lease.event_type,
            attempt=self.lease.attempt,
            duration_ms=self.duration_ms,
            exception=self.failure.traceback if self.failure and self.is_charged else None,
        )


def run(inbox: Inbox, session: HandlerSession, lease: Lease, limit: TimeLimit) -> Outcome:
    """Run the handler once, in the session's transaction. What fails is undone, and nothing else of it.

    Raises whatever the handler raises, HandlerTimeout, HandBack, CannotUnseal and UnusablePayload.
    """
    started = inbox.stopwatch()
    with session.guarded():
        event, body = _open(inbox, lease)
        masked = _masked(inbox, lease, event, body)
        handler = handler_for(event.type)
        if handler is not None:
            with limit.of(inbox.settings.handler_timeout, session.interrupt):
                handler(event, session)
                session.flush()
    result, state = ("unhandled", State.UNHANDLED) if handler is None else ("processed", State.PROCESSED)
    return Outcome(lease, result, state, _since(inbox, started), event, masked)


def failed(inbox: Inbox, lease: Lease, error: BaseException, *, since: float | None = None) -> Outcome:
    """What the error means for the event."""
    masked, payload = None, dict[str, Any]()
    with suppress(CannotUnseal, UnusablePayload):
        event, body = _open(inbox, lease)
        payload, masked = dict(event.payload), _masked(inbox, lease, event, body)
    result, state, retry_in = "failed", State.PENDING, None
    if isinstance(error, RetryLater):
        result, retry_in = RETRY_LATER, error.seconds
    elif lease.attempt >= inbox.settings.max_attempts or isinstance(error, HOPELESS):
        result, state = "dead", State.DEAD
    else:
        retry_in = backoff(lease.attempt, inbox.random)
    duration, failure = 0 if since is None else _since(inbox, since), _described(error, payload)
    return Outcome(lease, result, state, duration, None, masked, failure, retry_in, result != RETRY_LATER)


def _open(inbox: Inbox, lease: Lease) -> tuple[Event, bytes]:
    """The event in clear text. Raises CannotUnseal or UnusablePayload, which no further attempt can mend."""
    if lease.sealed_payload is None:
        raise CannotUnseal("erased")
    body = unseal(lease.sealed_payload, row=lease.seal_id, keys=inbox.settings.payload_keys)
    return inbox.settings.read_event(body, lease.received_at), body


def _masked(inbox: Inbox, lease: Lease, event: Event, body: bytes) -> str | None:
    return None if lease.masked else masked_text(inbox.settings, event.payload, body)


def _since(inbox: Inbox, started: float) -> int:
    return round((inbox.stopwatch() - started) * 1000)


def _described(error: BaseException, payload: dict[str, Any]) -> Failure:
    """A name in a message looks like any other word: so its words are compared with the payload's own."""
    spoken = (*OURS, *spoken_errors())
    line = summary(error, spoken=spoken, code=_code, hidden=lambda: hidden_values(payload))
    if isinstance(error, RetryLater):
        words = message(error, hidden=lambda: hidden_values(payload))
        line = f"{NOT_YET}: {words}" if words else NOT_YET
    return Failure(line, trace(error, code=_code))


def _code(error: BaseException) -> str | None:
    """A reason code, and the database's own."""
    return cause_of(error) if is_databases(error) else None
