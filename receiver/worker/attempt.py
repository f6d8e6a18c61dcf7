"""One attempt: the event is opened, its handler runs under a time limit, and an outcome says what came of it.

    open_event()   Lease → Opened     the event in clear text
    run()          Opened → Outcome   its handler ran to its end
    follow()       Opened → Outcome   its follow-up ran to its end
    failed()       error → Outcome    what the error means for the event: try again, later, or dead

The handler works in a transaction that the batch began. A follow-up has none. lifecycle.py has the states.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NamedTuple

from receiver.config import Settings
from receiver.database.causes import cause_of, is_databases
from receiver.follow_ups import Cause, attach
from receiver.logs import log_attempt
from receiver.privacy.errors import message, summary, trace
from receiver.privacy.fingerprint import fingerprint
from receiver.privacy.masking import hidden_values
from receiver.privacy.sealing import CannotUnseal, unseal
from receiver.protocol.envelope import Event
from receiver.protocol.errors import UnusablePayload
from receiver.registry import (
    RETRY_LATER,
    Follower,
    PermanentFailure,
    RetryLater,
    follower_for,
    handler_for,
    spoken_errors,
)
from receiver.store.lifecycle import NOT_YET, State, backoff
from receiver.store.masked import masked_text
from receiver.store.tally import Key
from receiver.typed_data import DataDoesNotFit, load_data
from receiver.worker.leases import Lease
from receiver.worker.session import HandlerMisuse, HandlerSession, SwallowedError
from receiver.worker.time_limit import HandlerTimeout
from receiver.worker.turns import take_turn
from receiver.worker.workbench import Workbench

HOPELESS = (PermanentFailure, CannotUnseal, UnusablePayload, DataDoesNotFit)
OURS = (HandlerMisuse, SwallowedError, HandlerTimeout, CannotUnseal, UnusablePayload, DataDoesNotFit)
"""Errors with our own messages, which quote nothing."""


class Opened(NamedTuple):
    """An event in clear text, with the lease to run it."""

    lease: Lease
    event: Event
    masked: str | None  # the masked payload, where the row has none yet


class Failure(NamedTuple):
    """Why an attempt failed, as people may see it."""

    error: str
    traceback: str
    cause: str | None  # the fingerprint. None where the handler asked to run later: nothing went wrong


class Outcome(NamedTuple):
    """The result of one attempt, and everything that is settled with it."""

    lease: Lease
    opened: Opened | None  # None where the event can't be opened
    result: str
    state: State
    duration_ms: int
    failure: Failure | None = None
    retry_in: float | None = None  # seconds
    is_charged: bool = True  # False: the attempt does not count
    is_audited: bool = True

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


def open_event(settings: Settings, lease: Lease) -> Opened:
    """The event in clear text. Raises CannotUnseal or UnusablePayload, which no further attempt can mend."""
    if lease.sealed_payload is None:
        raise CannotUnseal("erased")
    body = unseal(lease.sealed_payload, row=lease.seal_id, keys=settings.payload_keys)
    event = settings.read_event(body, lease.received_at, is_ours=lease.is_follow_up)
    if lease.masked:
        return Opened(lease, event, None)
    return Opened(lease, event, masked_text(settings, event.payload, body, is_ours=lease.is_follow_up))


def run(bench: Workbench, session: HandlerSession, opened: Opened, *, since: float) -> Outcome:
    """Run the handler once, in the session's transaction.

    `since` is when the attempt began, by the stopwatch. Raises whatever the handler raises, HandlerTimeout and
    HandBack: then the transaction is to be rolled back.
    """
    with _span(bench, opened.lease) as say:
        outcome = _run(bench, session, opened, since)
        say(outcome.result)
    return outcome


def _run(bench: Workbench, session: HandlerSession, opened: Opened, since: float) -> Outcome:
    event = opened.event
    handling = None if opened.lease.is_follow_up else handler_for(event.type)
    if handling is None:
        return _ended(bench, opened, State.UNHANDLED, since)
    traceparent = bench.tracing.traceparent() if bench.tracing else None
    attach(session, Cause(bench.inbox, opened.lease.inbox_id, opened.lease.seal_id, traceparent))
    if handling.one_at_a_time_by:
        take_turn(session, event, opened.lease.inbox_id, handling.one_at_a_time_by)
    with session.guarded(), bench.limit.of(bench.inbox.settings.handler_timeout, session.interrupt):
        handling.run(replace(event, data=load_data(handling.data, event.data)) if handling.data else event, session)
        session.flush()
    return _ended(bench, opened, State.PROCESSED, since)


def follower_of(settings: Settings, lease: Lease) -> Follower | None:
    """The function that does this follow-up. None for an event, and for a follow-up that waits as unhandled."""
    return follower_for(lease.event_type) if lease.is_follow_up and settings.follow_ups else None


def follow(bench: Workbench, opened: Opened, *, since: float) -> Outcome:
    """Do the follow-up once, with no transaction open. Raises what its function raises, HandlerTimeout and HandBack."""
    with _span(bench, opened.lease) as say:
        outcome = _follow(bench, opened, since)
        say(outcome.result)
    return outcome


def _follow(bench: Workbench, opened: Opened, since: float) -> Outcome:
    follower = follower_of(bench.inbox.settings, opened.lease)
    if follower is None:
        return _ended(bench, opened, State.UNHANDLED, since)
    with bench.limit.of(bench.inbox.settings.handler_timeout):
        follower(opened.event)
    return _ended(bench, opened, State.PROCESSED, since)


def _span(bench: Workbench, lease: Lease) -> AbstractContextManager[Callable[[str], object]]:
    """The span of an attempt, where somebody traces. The block says its result."""
    if bench.tracing is None:
        return _NO_SPAN
    return bench.tracing.attempt(lease.traceparent, lease.event_id, lease.event_type, lease.attempt)


_NO_SPAN: AbstractContextManager[Callable[[str], object]] = nullcontext(lambda _result: None)


def _ended(bench: Workbench, opened: Opened, state: State, since: float) -> Outcome:
    """Its result has the name of its state."""
    return Outcome(opened.lease, opened, state.value, state, _milliseconds(bench, since))


def failed(bench: Workbench, lease: Lease, opened: Opened | None, error: BaseException, *, since: float) -> Outcome:
    """What the error means for the event."""
    result, state, retry_in = "failed", State.PENDING, None
    if isinstance(error, RetryLater):
        result, retry_in = RETRY_LATER, error.seconds
    elif lease.attempt >= bench.inbox.settings.max_attempts or isinstance(error, HOPELESS):
        result, state = "dead", State.DEAD
    else:
        retry_in = backoff(lease.attempt, bench.random)
    return Outcome(
        lease,
        opened,
        result,
        state,
        _milliseconds(bench, since),
        _described(error, lease, opened),
        retry_in,
        is_charged=result != RETRY_LATER,
        is_audited=result != RETRY_LATER or _is_rare(bench, lease),
    )


def _is_rare(bench: Workbench, lease: Lease) -> bool:
    """Whether to write an audit row. A handler can put its events off for ever, and must not fill the disk."""
    key = Key(RETRY_LATER, event_type=lease.event_type, action="attempt")
    return bench.inbox.tally.admits(key, bench.inbox.clock.now())


def _milliseconds(bench: Workbench, since: float) -> int:
    return round((bench.stopwatch() - since) * 1000)


def _described(error: BaseException, lease: Lease, opened: Opened | None) -> Failure:
    """The message, masked. A name in it looks like any other word, so its words are compared with the payload's."""
    payload = dict(opened.event.payload) if opened else {}
    spoken = (*OURS, *spoken_errors())
    line = summary(error, spoken=spoken, code=_code, hidden=lambda: hidden_values(payload))
    if isinstance(error, RetryLater):
        words = message(error, hidden=lambda: hidden_values(payload))
        return Failure(f"{NOT_YET}: {words}" if words else NOT_YET, trace(error, code=_code), None)
    return Failure(line, trace(error, code=_code), fingerprint(lease.event_type, line))


def _code(error: BaseException) -> str | None:
    """A reason code, and the database's own."""
    return cause_of(error) if is_databases(error) else None
