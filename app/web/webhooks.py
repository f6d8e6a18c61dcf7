"""Where Senang.io knocks (§2, §3, §4). The one rule: authentic, then durable, then 2xx; everything else later.

`receive()` is the whole flow. Handlers never run here.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from contextlib import suppress
from functools import cache
from typing import TypeVar, cast

import structlog
from flask import Blueprint, Response, g, jsonify, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge

from app import metrics
from app.inbox import captures
from app.inbox.audit import record_rejection
from app.inbox.context import Inbox
from app.inbox.receive import Delivery, Receipt, quarantine_stale, quarantine_unusable
from app.inbox.receive import receive as receive_event
from app.protocol.captured import Captured, without_credentials
from app.protocol.envelope import Event, parse_event
from app.protocol.errors import InvalidSignature, StaleTimestamp, UnusablePayload
from app.protocol.signatures import verify
from app.web import problems
from app.web.present import present_inbox

COMMIT_DEADLINE_SECONDS = 2.5
"""The answer must be out within 3 s; a database that hangs keeps its thread, not the sender."""

MOST_READ_AWAY = 16 * 1024 * 1024
UNREAD = {403: "plain_http", 413: "too_large"}
"""Reason codes of what is refused before it is read; anything else is `unreadable_body`."""

T = TypeVar("T")
log = structlog.get_logger()
blueprint = Blueprint("webhooks", __name__)


@blueprint.route("/webhooks/senang", methods=["POST"], provide_automatic_options=False)
def receive() -> Response:
    """Take one delivery."""
    inbox = present_inbox()
    body = _bounded_body(inbox.settings.max_body_bytes)
    try:
        _verify(inbox, body)
    except StaleTimestamp as stale:
        return _keep_stale(inbox, body, stale)
    except InvalidSignature as error:
        return _reject(inbox, body, error)
    return _store(inbox, body)


@blueprint.errorhandler(HTTPException)
def refuse_unread(error: HTTPException) -> Response:
    """A delivery that is refused before anything of it is read leaves a trace like every other one (§6.4)."""
    inbox = present_inbox()
    _record_rejection(inbox, UNREAD.get(error.code or 0, "unreadable_body"))
    return problems.http_error(error)


def _bounded_body(limit: int) -> bytes:
    """The raw bytes. Reads one byte past the limit: a chunked body doesn't tell its length.

    Without a length, reading ends only where the server says that it ends; else it would wait for ever.
    """
    length = request.content_length
    if length is None:
        length = limit + 1 if request.environ.get("wsgi.input_terminated") else 0
    elif length > limit:
        _read_away(min(length, MOST_READ_AWAY))
        raise RequestEntityTooLarge
    try:
        body = bytes(request.environ["wsgi.input"].read(length))
    except Exception as error:  # whatever the server's reader thinks of a broken chunk or a lost connection
        raise BadRequest("The body could not be read to its end.") from error
    if len(body) > limit:
        raise RequestEntityTooLarge
    return body


def _read_away(length: int) -> None:
    """A connection that is closed with unread bytes in it is reset, and the sender never sees its 413."""
    with suppress(Exception):
        while length > 0 and (chunk := request.environ["wsgi.input"].read(min(length, 65_536))):
            length -= len(chunk)


def _verify(inbox: Inbox, body: bytes) -> None:
    settings = inbox.settings
    verify(
        body,
        dict(request.headers),
        scheme=settings.scheme,
        keys=settings.signature_keys,
        now=inbox.clock.now(),
        tolerance=settings.timestamp_tolerance,
    )


def _store(inbox: Inbox, body: bytes) -> Response:
    try:
        event = parse_event(body, inbox.settings.payload_fields)
        delivery = _delivery(body)
        stored = _in_time(lambda: receive_event(inbox, event, delivery))
    except UnusablePayload as error:
        unusable, delivery = error, _delivery(body)
        stored = _in_time(lambda: quarantine_unusable(inbox, unusable, delivery))
    if stored is None:
        return _unstored()
    _time(inbox)
    return _acknowledge(stored)


def _time(inbox: Inbox) -> None:
    """Count how long it took to keep the delivery. Writing the counts down now and then is not waited for."""
    if inbox.latencies.note(inbox.clock.now(), (time.monotonic() - g.started) * 1000):
        _storing_threads().submit(inbox.latencies.write, inbox.engine)


def _keep_stale(inbox: Inbox, body: bytes, stale: StaleTimestamp) -> Response:
    """Authentic but outside the tolerance: kept if it is new, refused like any other bad signature."""
    _capture(inbox, body, stale.reason)
    event: Event | UnusablePayload
    try:
        event = parse_event(body, inbox.settings.payload_fields)
    except UnusablePayload as error:
        event = error
    delivery = _delivery(body)
    kept = _in_time(lambda: quarantine_stale(inbox, event, delivery))
    if kept is None:
        return _unstored()
    _log_delivery("rejected", kept.event_id, kept.event_type, reason=stale.reason)
    return _unauthorized()


def _reject(inbox: Inbox, body: bytes, error: InvalidSignature) -> Response:
    _capture(inbox, body, error.reason)
    _record_rejection(inbox, error.reason)
    return _unauthorized()


def _capture(inbox: Inbox, body: bytes, reason: str) -> None:
    """Show the doctor what failed, where an operator asked for it."""
    if inbox.settings.environment != "sandbox":
        return
    headers = without_credentials(request.headers.items())
    captured = Captured(request.url, headers, body, inbox.clock.now())
    address = request.remote_addr or ""
    _in_time(lambda: captures.keep(inbox, captured, reason=reason, address=address))


def _record_rejection(inbox: Inbox, reason: str) -> None:
    identity = problems.request_id()
    _in_time(lambda: record_rejection(inbox, reason, identity))
    _log_delivery("rejected", None, None, reason=reason)


def _in_time(work: Callable[[], T]) -> T | None:
    """The result of the work, or None when the database fails or is too slow; it may commit later all the same."""
    future = _storing_threads().submit(work)
    try:
        return future.result(timeout=COMMIT_DEADLINE_SECONDS)
    except TooLate:
        future.cancel()
        log.error("not_committed_in_time")
    except SQLAlchemyError as error:
        log.error("not_committed", error=type(error).__name__)
    return None


@cache
def _storing_threads() -> ThreadPoolExecutor:
    """Made at the first delivery, so after gunicorn has forked."""
    return ThreadPoolExecutor(max_workers=32, thread_name_prefix="storing")


def _delivery(body: bytes) -> Delivery:
    return Delivery(body, problems.request_id(), _elapsed_ms())


def _acknowledge(receipt: Receipt) -> Response:
    _log_delivery(receipt.status, receipt.event_id, receipt.event_type)
    if receipt.errors is not None:
        return jsonify(status=receipt.status, errors=receipt.errors)
    return jsonify(status=receipt.status, event_id=receipt.event_id)


def _unauthorized() -> Response:
    """The same for every cause."""
    return problems.problem(401, "Unauthorized", "The delivery could not be authenticated.")


def _unstored() -> Response:
    _log_delivery("not stored", None, None)
    return problems.unavailable()


def _log_delivery(result: str, event_id: str | None, event_type: str | None, **more: str) -> None:
    metrics.count_delivery(result, more.get("reason", ""), time.monotonic() - g.started)
    log.info(
        "delivery",
        event_id=event_id,
        event_type=event_type,
        processing_result=result,
        request_id=problems.request_id(),
        duration_ms=_elapsed_ms(),
        **more,
    )


def _elapsed_ms() -> int:
    return round((time.monotonic() - cast(float, g.started)) * 1000)
