"""First step at the door: read the bounded bytes of a delivery.

Slow senders can't fill this process's memory: bodies that are still being read may hold only so many bytes together.
Small bodies don't count, so that large ones only hinder each other.

A delivery that is refused unread has a reason code, for the log, the metrics and the audit log:

    HTTPException
    ├── PlainHttp       403 plain_http        (receiver/transport.py)
    ├── TooLarge        413 too_large
    ├── Unreadable      400 unreadable_body
    └── TooMuchHeld     503 overloaded
"""

import time
from functools import cache
from threading import Lock
from typing import Any

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, ServiceUnavailable
from werkzeug.sansio.utils import get_content_length

from receiver.config import DELIVERY_SECONDS, Settings
from receiver.problem import RETRY_AFTER_SECONDS
from receiver.protocol.schemes import PATH, QUERY
from receiver.transport import refuse_plain_http

SMALL_BODY = 64 * 1024
MOST_HELD = 64 * 1024 * 1024

Environ = dict[str, Any]


class TooLarge(RequestEntityTooLarge):
    """The body is longer than MAX_BODY_BYTES."""

    reason = "too_large"


class Unreadable(BadRequest):
    """The body could not be read to its end."""

    reason = "unreadable_body"
    description = "The body could not be read to its end."


class TooMuchHeld(ServiceUnavailable):
    """Large bodies that are being read hold too many bytes already."""

    reason = "overloaded"

    def __init__(self) -> None:
        super().__init__(retry_after=int(RETRY_AFTER_SECONDS))


class Incoming:
    """A delivery as it was read. From now on it has so many `seconds` for all that is to be stored of it.

    `body` is empty where the delivery is refused unread.
    """

    __slots__ = ("body", "ends_at", "environ", "request_id", "started", "traceparent")

    def __init__(
        self, environ: Environ, body: bytes, *, request_id: str, started: float, seconds: float = DELIVERY_SECONDS
    ) -> None:
        self.environ, self.body = environ, body
        self.request_id = request_id
        self.started = started  # seconds of the monotonic clock
        self.traceparent: str | None = None  # of its span, where somebody traces
        self.ends_at = time.monotonic() + seconds

    def headers(self, names: tuple[str, ...]) -> dict[str, str]:
        """Those of the headers that were sent."""
        keys = _environ_keys(names)
        found = {name: self.environ[key] for name, key in keys if key in self.environ}
        if PATH in found:
            found[PATH] = self.environ.get("SCRIPT_NAME", "") + found[PATH]
        return found

    def milliseconds(self) -> float:
        """How long it has been here."""
        return (time.monotonic() - self.started) * 1000


def read(environ: Environ, settings: Settings, *, request_id: str, started: float) -> Incoming:
    """Read a delivery. Raises one of the errors above."""
    refuse_plain_http(environ, settings)
    body = _body(environ, settings.max_body_bytes)
    return Incoming(environ, body, request_id=request_id, started=started, seconds=settings.delivery_seconds)


@cache
def _environ_keys(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, _OF_THE_ADDRESS.get(name) or f"HTTP_{name.upper().replace('-', '_')}") for name in names]


_OF_THE_ADDRESS = {QUERY: "QUERY_STRING", PATH: "PATH_INFO"}


def _body(environ: Environ, limit: int) -> bytes:
    """The raw bytes. Reads one byte past the limit: a chunked body doesn't tell its length.

    What is refused is left unread: the server closes the connection in a way that lets the sender see its answer.

    Without a length, reading ends only where the server says that it ends; else it would wait for ever.
    """
    length = get_content_length(environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING"))
    if length is None:
        length = limit + 1 if environ.get("wsgi.input_terminated") else 0
    elif length > limit:
        raise TooLarge
    try:
        body = _pieces(environ["wsgi.input"], length)
    except TooMuchHeld:
        raise
    except Exception as error:  # whatever the server's reader thinks of a broken chunk or a lost connection
        raise Unreadable from error
    if len(body) > limit:
        raise TooLarge
    return body


class _Held:
    """How many bytes of large bodies this process holds."""

    def __init__(self) -> None:
        self._bytes, self._lock = 0, Lock()

    def change(self, by: int) -> None:
        """Add to the number. Raises TooMuchHeld, but counts all the same: the caller takes it off at the end."""
        with self._lock:
            self._bytes += by
            if by > 0 and self._bytes > MOST_HELD:
                raise TooMuchHeld


_held = _Held()


def _pieces(source: Any, length: int) -> bytes:
    """So many bytes, or fewer where it ends before. Raises TooMuchHeld."""
    first: bytes = source.read(min(length, SMALL_BODY))
    if len(first) < SMALL_BODY or len(first) == length:
        return first
    body, counted = bytearray(first), 0
    try:
        while len(body) < length and (piece := source.read(min(length - len(body), SMALL_BODY))):
            counted += len(piece)
            _held.change(len(piece))
            body += piece
    finally:
        _held.change(-counted)
    return bytes(body)
