"""One connection: read a request, let the application answer it, and go on until one side ends the connection.

request.py says what a request is. response.py says what may be sent. Bytes that are not a request, or that can be read
in two ways, are answered 400, and the connection is closed.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Protocol

import structlog
from gevent import socket
from gunicorn.http.errors import ParseException

from receiver.logs import LOGGED
from receiver.server import refusals
from receiver.server.peer import Peer
from receiver.server.request import BrokenBody, Request
from receiver.server.response import ResponseWriter

FULL = 0.8
"""The share of `worker_connections` at which idle connections begin to be closed to make room."""
Environ = dict[str, Any]
log = structlog.get_logger()


class Worker(Protocol):
    """What a connection needs to know about the worker that serves it."""

    alive: bool
    keep_alive_seconds: float
    log: Any

    def count_request(self) -> None:
        """Note that a request is about to be answered."""


_peers: set[Peer] = set()
"""Of all connections of this process."""


class Connection:
    """Serves the requests of one peer."""

    worker: Worker

    def __init__(
        self, connection: socket.socket, address: Any, app: Callable[..., Iterable[bytes]], environ: Environ
    ) -> None:
        self._peer = Peer(connection)
        self._address, self._app, self._environ = address, app, environ

    def serve(self) -> None:
        """Serve all requests of the connection. A peer that is gone or too slow is not an error of ours."""
        _peers.add(self._peer)
        try:
            with suppress(OSError, StopIteration):
                while self._serve_next():
                    pass
                self._peer.linger()
        finally:
            _peers.discard(self._peer)

    def _serve_next(self) -> bool:
        """Whether another request may follow. Raises StopIteration when the peer has sent its last one."""
        self._peer.expect_request(self.worker.keep_alive_seconds)
        try:
            request = Request(self._peer)
        except ParseException as error:
            self._peer.hold_back()
            return self._refuse(error)
        return self._answer(request)

    def _answer(self, request: Request) -> bool:
        self.worker.count_request()
        answer = ResponseWriter(request, self._peer, lambda: self.worker.alive and request.body.may_be_skipped())
        environ = request.environ(self._environ, self._address)
        begun = time.monotonic()
        try:
            self._run(environ, answer)
        except Exception as error:
            return self._give_up(error, answer)
        finally:
            if LOGGED not in environ:
                self.worker.log.access(answer, request, environ, timedelta(seconds=time.monotonic() - begun))
        if answer.ends_connection:
            return False
        request.body.skip()
        return True

    def _run(self, environ: Environ, answer: ResponseWriter) -> None:
        result = self._app(environ, answer.start_response)
        try:
            for piece in result:
                answer.write(piece)
            answer.finish()
        finally:
            if hasattr(result, "close"):
                result.close()

    def _give_up(self, error: Exception, answer: ResponseWriter) -> bool:
        """Answer 500: the application could not answer."""
        if isinstance(error, BrokenBody):
            return self._refuse(error.__cause__ or error, answer)
        if isinstance(error, OSError):
            raise error
        log.error("unexpected_error", exc_info=error)
        return self._end("500 Internal Server Error", answer)

    def _refuse(self, error: BaseException, answer: ResponseWriter | None = None) -> bool:
        """Answer 400: what was sent is not a request. A peer that is gone gets no answer."""
        if isinstance(error, OSError):
            raise error
        refusals.note(type(error).__name__)
        return self._end("400 Bad Request", answer)

    def _end(self, status: str, answer: ResponseWriter | None) -> bool:
        if answer is None or not answer.has_begun:
            self._peer.sendall(f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        if answer is not None and not answer.has_begun:
            answer.status = status
        return False


def look_after_peers(most: int, *, stops: bool) -> None:
    """End the connections of late peers, and idle ones where room is needed. If the worker stops, end all idle ones."""
    now = time.monotonic()
    for peer in list(_peers):
        peer.drop_if_late(now)
    too_many = len(_peers) if stops else len(_peers) - int(FULL * most)
    if too_many > 0:
        idle = [peer for peer in _peers if peer.idle_since is not None]
        for peer in sorted(idle, key=lambda peer: peer.idle_since or 0.0)[:too_many]:
            peer.hang_up()
