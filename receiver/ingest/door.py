"""What happens at the door (§2, §3, §4). The one rule: authentic, then durable, then 2xx; everything else later.

`take()` is the whole flow, for whoever has read a request from the network. Handlers never run here.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Request

from receiver import metrics
from receiver.database.causes import cause_of
from receiver.ingest import captures
from receiver.ingest.group_commit import NotStored, TooLate
from receiver.ingest.receive import Delivery, Receipt, accept, quarantine_stale, quarantine_unusable, receive_again
from receiver.ingest.storing import storing
from receiver.logs import log_delivery
from receiver.protocol.captured import Captured, without_credentials
from receiver.protocol.envelope import Event
from receiver.protocol.errors import InvalidSignature, StaleTimestamp, UnusablePayload
from receiver.protocol.signatures import verify
from receiver.store.audit import record_rejection, write_finished_sums
from receiver.store.inbox import COMMIT_DEADLINE_SECONDS, Inbox
from receiver.web.problems import PROBLEM, RETRY_AFTER_SECONDS, UNEXPECTED_ERROR, problem_text

T = TypeVar("T")
log = structlog.get_logger()


class Incoming:
    """A request whose body has been read. From now on it has so much time, for all that is to be stored of it."""

    __slots__ = ("body", "ends_at", "environ", "request_id", "started")

    def __init__(self, environ: dict[str, Any], body: bytes, request_id: str, started: float) -> None:
        self.environ, self.body = environ, body
        self.request_id = request_id
        self.started = started  # seconds of the monotonic clock
        self.ends_at = time.monotonic() + COMMIT_DEADLINE_SECONDS

    def headers(self, names: tuple[str, ...]) -> dict[str, str]:
        """Those of the headers that were sent."""
        keys = _environ_keys(names)
        return {name: self.environ[key] for name, key in keys if key in self.environ}

    def milliseconds(self) -> float:
        """How long it has been here."""
        return (time.monotonic() - self.started) * 1000


@cache
def _environ_keys(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, f"HTTP_{name.upper().replace('-', '_')}") for name in names]


class Answer(NamedTuple):
    """What the sender hears."""

    status: int
    body: str
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


REJECTED = "rejected"
UNAUTHORIZED = Answer(401, problem_text(401, "Unauthorized", "The delivery could not be authenticated."), PROBLEM)
"""The same for every cause."""
UNAVAILABLE = Answer(
    503,
    problem_text(503, "Service Unavailable", "The event could not be stored. Please retry."),
    PROBLEM,
    (("Retry-After", RETRY_AFTER_SECONDS),),
)
"""It was not committed in time: the sender shall come again (§6.1)."""

UNEXPECTED = Answer(500, problem_text(500, *UNEXPECTED_ERROR), PROBLEM)


def take(inbox: Inbox, incoming: Incoming) -> Answer:
    """Take one delivery."""
    try:
        incoming.body = _vouched(inbox, incoming)
    except StaleTimestamp as stale:
        return _keep_stale(inbox, incoming, stale)
    except InvalidSignature as error:
        return _reject(inbox, incoming, error)
    return _store(inbox, incoming)


def note_rejection(
    inbox: Inbox,
    request_id: str,
    started: float,
    reason: str,
    *,
    detail: str | None = None,
    ends_at: float | None = None,
) -> None:
    """Leave a trace of what was refused: its reason code, and of what a stranger sent nothing but `detail`.

    It is not waited for beyond `ends_at` of the monotonic clock: by default as long as a delivery has.
    """
    ends_at = time.monotonic() + COMMIT_DEADLINE_SECONDS if ends_at is None else ends_at
    _in_time(lambda: record_rejection(inbox, reason, request_id, detail), size=0, ends_at=ends_at)
    _log(inbox, REJECTED, request_id, started, reason=reason)


def _vouched(inbox: Inbox, incoming: Incoming) -> bytes:
    """The body that the signature vouches for. Raises InvalidSignature."""
    settings = inbox.settings
    return verify(
        incoming.body,
        incoming.headers(settings.scheme.headers),
        scheme=settings.scheme,
        keys=settings.signature_keys,
        now=inbox.clock.now(),
        tolerance=settings.timestamp_tolerance,
    ).body


def _store(inbox: Inbox, incoming: Incoming) -> Answer:
    if _is_refused(inbox, incoming):
        return _not_stored(inbox, incoming)
    delivery = _delivery(incoming)
    try:
        event = inbox.settings.read_event(incoming.body)
    except UnusablePayload as error:
        unusable = error
        stored = _keep(incoming, lambda: quarantine_unusable(inbox, unusable, delivery))
    else:
        stored = _store_event(inbox, event, delivery, incoming)
    if stored is None:
        return _not_stored(inbox, incoming)
    _count(inbox, incoming)
    return _acknowledge(inbox, stored, incoming)


def _store_event(inbox: Inbox, event: Event, delivery: Delivery, incoming: Incoming) -> Receipt | None:
    try:
        accepted = accept(inbox, event, delivery, ends_at=incoming.ends_at)
    except NotStored as error:
        log.error("not_committed", error=cause_of(error))
        return None
    return accepted or _keep(incoming, lambda: receive_again(inbox, event, delivery))


def _keep_stale(inbox: Inbox, incoming: Incoming, stale: StaleTimestamp) -> Answer:
    """Authentic but outside the tolerance: kept if it is new, refused like any other bad signature."""
    if _is_refused(inbox, incoming):
        return _not_stored(inbox, incoming)
    _capture(inbox, incoming, stale.reason)
    incoming.body = stale.body
    event: Event | UnusablePayload
    try:
        event = inbox.settings.read_event(incoming.body)
    except UnusablePayload as error:
        event = error
    delivery = _delivery(incoming)
    kept = _keep(incoming, lambda: quarantine_stale(inbox, event, delivery))
    if kept is None:
        return _not_stored(inbox, incoming)
    _log(inbox, REJECTED, incoming.request_id, incoming.started, kept, reason=stale.reason)
    return UNAUTHORIZED


def _is_refused(inbox: Inbox, incoming: Incoming) -> bool:
    """Whether nothing may be stored in this database, since `live` would mix with the sandbox (§8.3)."""
    guard = inbox.guard
    if guard.is_due():
        _in_time(guard.look, size=len(incoming.body), ends_at=incoming.ends_at)
    return guard.refuses


def _not_stored(inbox: Inbox, incoming: Incoming) -> Answer:
    _log(inbox, "not stored", incoming.request_id, incoming.started)
    return UNAVAILABLE


def _reject(inbox: Inbox, incoming: Incoming, error: InvalidSignature) -> Answer:
    _capture(inbox, incoming, error.reason)
    note_rejection(inbox, incoming.request_id, incoming.started, error.reason, ends_at=incoming.ends_at)
    return UNAUTHORIZED


def _capture(inbox: Inbox, incoming: Incoming, reason: str) -> None:
    """Show the doctor what failed, where an operator asked for it."""
    if inbox.settings.environment != "sandbox":
        return
    request = Request(incoming.environ)
    headers = without_credentials(request.headers.items())
    captured = Captured(request.url, headers, incoming.body, inbox.clock.now())
    address = request.remote_addr or ""
    _keep(incoming, lambda: captures.keep(inbox, captured, reason=reason, address=address))


def _acknowledge(inbox: Inbox, receipt: Receipt, incoming: Incoming) -> Answer:
    _log(inbox, receipt.status, incoming.request_id, incoming.started, receipt)
    about = {"event_id": receipt.event_id} if receipt.errors is None else {"errors": receipt.errors}
    return Answer(200, json.dumps({"status": receipt.status, **about}))


def _keep(incoming: Incoming, work: Callable[[], T]) -> T | None:
    """The result of the work on this delivery, within the time that it has left."""
    return _in_time(work, size=len(incoming.body), ends_at=incoming.ends_at)


def _in_time(work: Callable[[], T], *, size: int, ends_at: float) -> T | None:
    """The result of the work, or None when the database fails or is too slow; it may commit later all the same."""
    try:
        return storing().result(work, size=size, ends_at=ends_at)
    except TooLate:
        log.error("not_committed_in_time")
    except (NotStored, SQLAlchemyError) as error:
        log.error("not_committed", error=cause_of(error))
    return None


def _count(inbox: Inbox, incoming: Incoming) -> None:
    """Count how long it took to keep the delivery. Writing counts down now and then is not waited for."""
    now = inbox.clock.now()
    if inbox.latencies.note(now, incoming.milliseconds()) or inbox.tally.has_finished(now):
        with suppress(NotStored):
            storing().beside(lambda: _write_counts(inbox))


def _write_counts(inbox: Inbox) -> None:
    inbox.latencies.write(inbox.engine)
    write_finished_sums(inbox)


def _delivery(incoming: Incoming) -> Delivery:
    return Delivery(incoming.body, incoming.request_id, round(incoming.milliseconds()))


def _log(
    inbox: Inbox, result: str, request_id: str, started: float, receipt: Receipt | None = None, reason: str = ""
) -> None:
    seconds = time.monotonic() - started
    if inbox.settings.metrics_token:  # or nobody could read them
        metrics.count_delivery(result, reason, seconds)
    if result == REJECTED and not inbox.lines.admits("delivery", processing_result=result, reason=reason):
        return  # anybody can have it written
    event_id, event_type = (receipt.event_id, receipt.event_type) if receipt else (None, None)
    log_delivery(result, event_id, event_type, request_id=request_id, duration_ms=round(seconds * 1000), reason=reason)
