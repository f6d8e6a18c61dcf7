"""Where Senang.io knocks: the route, and how much of a request is read. What happens then stands in door.py.

Nobody fills this process's memory by sending slowly: of the bodies that are still being read, only so many bytes are
held. Small ones don't count, so that large ones are in nobody's way but each other's.
"""

from threading import Lock
from typing import Any

from flask import Blueprint, Response, g, request
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, ServiceUnavailable
from werkzeug.sansio.utils import get_content_length

from receiver.config import WEBHOOK_PATH
from receiver.ingest.door import Incoming, note_rejection, take
from receiver.logs import LOGGED
from receiver.present import present_inbox
from receiver.web import problems

PATH = WEBHOOK_PATH
SMALL_BODY = 64 * 1024
MOST_HELD = 64 * 1024 * 1024
UNREAD = {403: "plain_http", 413: "too_large", 503: "overloaded"}
"""Reason codes of what is refused before it is read; anything else is `unreadable_body`."""

blueprint = Blueprint("webhooks", __name__)


@blueprint.route(PATH, methods=["POST"], provide_automatic_options=False)
def receive() -> Response:
    """Take one delivery."""
    inbox = present_inbox()
    body = bounded_body(request.environ, inbox.settings.max_body_bytes)
    answer = take(inbox, Incoming(request.environ, body, problems.request_id(), g.started))
    request.environ[LOGGED] = True
    return Response(answer.body, answer.status, answer.headers, content_type=answer.media_type)


@blueprint.errorhandler(HTTPException)
def refuse_unread(error: HTTPException) -> Response:
    """A delivery that is refused before anything of it is read leaves a trace like every other one (§6.4)."""
    request.environ[LOGGED] = True
    note_rejection(present_inbox(), problems.request_id(), g.started, UNREAD.get(error.code or 0, "unreadable_body"))
    return problems.http_error(error)


def bounded_body(environ: dict[str, Any], limit: int) -> bytes:
    """The raw bytes. Reads one byte past the limit: a chunked body doesn't tell its length.

    What is refused is left unread: the server closes the connection in a way that lets the sender see its answer.

    Without a length, reading ends only where the server says that it ends; else it would wait for ever. Raises
    RequestEntityTooLarge or BadRequest.
    """
    length = get_content_length(environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING"))
    if length is None:
        length = limit + 1 if environ.get("wsgi.input_terminated") else 0
    elif length > limit:
        raise RequestEntityTooLarge
    try:
        body = _read(environ["wsgi.input"], length)
    except _TooManyHeld as error:
        raise ServiceUnavailable(retry_after=int(problems.RETRY_AFTER_SECONDS)) from error
    except Exception as error:  # whatever the server's reader thinks of a broken chunk or a lost connection
        raise BadRequest("The body could not be read to its end.") from error
    if len(body) > limit:
        raise RequestEntityTooLarge
    return body


class _TooManyHeld(Exception):
    """Large bodies that are being read hold too many bytes already."""


class _Held:
    """How many bytes of large bodies this process holds."""

    def __init__(self) -> None:
        self._bytes, self._lock = 0, Lock()

    def change(self, by: int) -> None:
        """Raises _TooManyHeld, and counts nevertheless: whoever adds takes away in the end."""
        with self._lock:
            self._bytes += by
            if by > 0 and self._bytes > MOST_HELD:
                raise _TooManyHeld


_held = _Held()


def _read(source: Any, length: int) -> bytes:
    """So many bytes, or fewer where it ends before. Raises _TooManyHeld."""
    body = bytearray(source.read(min(length, SMALL_BODY)))
    counted = 0
    try:
        while SMALL_BODY <= len(body) < length and (piece := source.read(min(length - len(body), SMALL_BODY))):
            counted += len(piece)
            _held.change(len(piece))
            body += piece
    finally:
        _held.change(-counted)
    return bytes(body)
