"""gunicorn's gevent worker, with a deadline for everything that a peer may be slow at.

A greenlet costs little, so a thousand connections wait for a slow peer as cheaply as one; but none may wait for ever.
A request has to be there, head and body, `REQUEST_SECONDS` after its connection last was idle; each piece of an answer
has to be taken within `SEND_SECONDS`. Nobody sets a timer for it: the worker looks now and then who waits for a peer
too long, and ends that connection. Nothing interrupts the application, so what is being stored is stored.
"""

import gc
import io
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

import gevent
import structlog
from gevent import pywsgi, socket
from gunicorn.workers.ggevent import GeventWorker, PyWSGIHandler

from app.logs import LOGGED
from app.server.head import Head

REQUEST_SECONDS = 10.0
SEND_SECONDS = 10.0
LOOK_SECONDS = 0.5
GARBAGE_THRESHOLD = 20_000
log = structlog.get_logger()


class _Peer(io.RawIOBase):
    """Who sends and takes, as long as there is time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.request_ends_at = math.inf
        self._waits_until = math.inf  # while it is waited for
        self._is_late = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """What it sends. Raises TimeoutError when its request takes too long."""
        if self.request_ends_at <= time.monotonic():
            raise TimeoutError
        self._waits_until = self.request_ends_at
        received: int = self._connection.recv_into(buffer)
        self._waits_until = math.inf
        if self._is_late:
            raise TimeoutError
        return received

    def send(self, data: bytes | bytearray) -> None:
        """Let it take this. Raises OSError when it does not."""
        self._waits_until = time.monotonic() + SEND_SECONDS
        sent = 0
        while sent < len(data):  # mostly once, and without what sendall() asks first
            sent += self._connection.send(memoryview(data)[sent:])
        self._waits_until = math.inf

    def drop_if_late(self, now: float) -> None:
        """End the connection if somebody waits for it, in vain."""
        if self._waits_until <= now:
            self._is_late = True
            with suppress(OSError):
                socket.socket.shutdown(self._connection, socket.SHUT_RDWR)


_peers: set[_Peer] = set()
"""Of all connections of this process."""


class Handler(PyWSGIHandler):  # type: ignore[misc]  # gunicorn is not typed
    """One connection."""

    headers: Head
    provided_date: str | bytes | None

    def __init__(self, connection: socket.socket, address: Any, server: pywsgi.WSGIServer) -> None:
        self._peer = _Peer(connection)
        self._held: bytearray | None = None
        super().__init__(connection, address, server, rfile=io.BufferedReader(self._peer))

    def handle(self) -> None:
        """All requests of the connection. A peer that is gone when it is answered is no error of ours."""
        _peers.add(self._peer)
        try:
            with suppress(OSError):
                super().handle()
        finally:
            _peers.discard(self._peer)

    def handle_one_request(self) -> Any:
        """The next request of the connection."""
        self._peer.request_ends_at = time.monotonic() + REQUEST_SECONDS
        return super().handle_one_request()

    def MessageClass(self, rfile: io.BufferedReader, _seekable: int) -> Head:  # noqa: N802 - pywsgi's name
        """The head of a request."""
        return Head(rfile)

    def finalize_headers(self) -> None:
        """The date is the same for a whole second."""
        if self.provided_date is None:
            date = self.provided_date = _date(int(time.time()))
            self.response_headers.append((b"Date", date))
        super().finalize_headers()

    def _check_http_version(self) -> bool:
        return self.request_version == "HTTP/1.1" or bool(super()._check_http_version())

    def _headers(self) -> Iterator[tuple[str, str]]:
        return self.headers.environ()

    def log_request(self) -> None:
        """A delivery has a line of its own, and so has what was no request."""
        if self.environ is not None and LOGGED not in self.environ:
            super().log_request()

    def _write_with_headers(self, data: bytes) -> None:
        """The head and the beginning of the body in one packet."""
        self._held = bytearray()
        super()._write_with_headers(data)
        held, self._held = self._held, None
        self._peer.send(held)

    def _sendall(self, data: bytes | bytearray) -> None:
        if self._held is not None:
            self._held += data
        else:
            self._peer.send(data)
        self.response_length += len(data)

    def log_error(self, msg: str, *args: Any) -> None:
        """pywsgi would name the peer's address and quote what it sent, past our log (§9.3)."""
        log.warning("invalid_request")

    def handle_error(self, t: Any, v: Any, tb: Any) -> None:
        """A peer that is gone, or that does not take its answer, is no error of ours."""
        if issubclass(t, OSError):
            self.close_connection = True
        else:
            log.error("unexpected_error", exc_info=(t, v, tb))
            self._send_error_response_if_possible(500)

    def _handle_client_error(self, ex: Exception) -> Any:
        """The answer to what is no HTTP; none for a peer that is gone or too slow."""
        if isinstance(ex, OSError) and not isinstance(ex, pywsgi._InvalidClientInput):
            return None
        return super()._handle_client_error(ex if isinstance(ex, ValueError) else ValueError(type(ex).__name__))


def _drop_who_is_late() -> None:
    while True:
        gevent.sleep(LOOK_SECONDS)
        now = time.monotonic()
        for peer in list(_peers):
            peer.drop_if_late(now)


@lru_cache(1)
def _date(second: int) -> bytes:
    text: bytes = pywsgi.format_date_time(second)
    return text


class Server(pywsgi.WSGIServer):  # type: ignore[misc]  # gevent is not typed
    """Hands connections to handlers; a TLS handshake has a deadline too."""

    def wrap_socket_and_handle(self, connection: socket.socket, address: Any) -> Any:
        """Shake hands, then handle."""
        connection.settimeout(REQUEST_SECONDS)
        return super().wrap_socket_and_handle(connection, address)


class WebWorker(GeventWorker):  # type: ignore[misc]
    """What `worker_class` in gunicorn.conf.py names."""

    server_class = Server
    wsgi_handler = Handler

    def load_wsgi(self) -> None:
        """Load the application, and let the garbage collector pass over what stays for good."""
        super().load_wsgi()
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_THRESHOLD, 20, 100)

    def run(self) -> None:
        """Serve, and look who is late."""
        gevent.spawn(_drop_who_is_late)
        super().run()
