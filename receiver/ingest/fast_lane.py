"""The short way to the door, for deliveries that are as most are: past Flask's routing, contexts and hooks.

What is done with a delivery is the same, `door.take()`, and so are the headers of the answer. Anything that is not a
plain, small POST to the one address goes through Flask as if this lane did not exist.
"""

import os
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import structlog

from receiver.ingest.door import UNEXPECTED, Answer, Incoming, take
from receiver.ingest.route import PATH, SMALL_BODY
from receiver.logs import LOGGED
from receiver.store.inbox import Inbox

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
log = structlog.get_logger()
_STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class FastLane:
    """WSGI in front of Flask's own."""

    def __init__(self, flask: Callable[..., Iterable[bytes]], inbox: Inbox, headers: list[tuple[str, str]]) -> None:
        self._flask, self._inbox, self._headers = flask, inbox, headers

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a plain delivery; hand everything else on."""
        if not self._is_plain(environ):
            return self._flask(environ, start_response)
        started, request_id = time.monotonic(), os.urandom(16).hex()
        try:
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        except Exception:  # Flask's way reads again, fails again, and says so
            return self._flask(environ, start_response)
        answer = self._take(Incoming(environ, body, request_id, started))
        environ[LOGGED] = True
        text = answer.body.encode()
        about = [("Content-Type", answer.media_type), ("Content-Length", str(len(text))), *answer.headers]
        start_response(_STATUS[answer.status], [*about, *self._headers, ("X-Request-ID", request_id)])
        return [text]

    def _take(self, incoming: Incoming) -> Answer:
        try:
            return take(self._inbox, incoming)
        except Exception as error:
            log.error("unexpected_error", exc_info=error)
            return UNEXPECTED

    def _is_plain(self, environ: Environ) -> bool:
        settings, length = self._inbox.settings, environ.get("CONTENT_LENGTH", "")
        return (
            environ["PATH_INFO"] == PATH
            and environ["REQUEST_METHOD"] == "POST"
            and length.isdecimal()
            and int(length) <= min(SMALL_BODY, settings.max_body_bytes)
            and "HTTP_TRANSFER_ENCODING" not in environ
            and (environ["wsgi.url_scheme"] == "https" or not settings.require_https)
        )
