"""gunicorn's gevent worker, with a deadline for everything that a peer may be slow at.

A greenlet costs little, so a thousand connections wait for a slow peer as cheaply as one; but none may wait for ever.

- A connection may be idle for KEEP_ALIVE_SECONDS. When few connections are left, the longest idle ones are closed.
- A request has to be there, head and body, `REQUEST_SECONDS` after its first byte.
- Each piece of an answer has to be taken within `SEND_SECONDS`.

No connection has a timer of its own: the worker looks now and then who waits for a peer too long, and ends that
connection. Nothing interrupts the application, so what is being stored is stored.

A worker that stops closes what is idle, and answers what is under way with `Connection: close`.
"""

import gc
import io
import math
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import lru_cache, partial
from typing import Any

import gevent
import structlog
from gevent import pywsgi, socket
from gunicorn.workers.ggevent import GeventWorker, PyWSGIHandler
from psycopg import waiting

from app.endless import endless
from app.logs import LOGGED
from app.server.head import Head

REQUEST_SECONDS = 10.0
SEND_SECONDS = 10.0
LOOK_SECONDS = 0.5
FULL = 0.8
"""The share of `worker_connections` from which on idle connections make room."""
GARBAGE_THRESHOLD = 20_000
log = structlog.get_logger()


class _Peer(io.RawIOBase):
    """Who sends and takes, as long as there is time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.idle_since: float | None = None  # while the next request has not begun
        self._sends_until = math.inf
        self._waits_until = math.inf  # while it is waited for
        self._is_late = False

    def readable(self) -> bool:
        return True

    def expect_request(self, seconds: float) -> None:
        """The next request has to begin within so many seconds."""
        self.idle_since = time.monotonic()
        self._sends_until = self.idle_since + seconds

    def request_begins(self) -> None:
        """Its first byte is here: the rest has to follow within `REQUEST_SECONDS`."""
        if self.idle_since is not None:
            self.idle_since = None
            self._sends_until = time.monotonic() + REQUEST_SECONDS

    def readinto(self, buffer: Any) -> int:
        """What it sends. Raises TimeoutError when it takes too long."""
        if self._sends_until <= time.monotonic():
            raise TimeoutError
        self._waits_until = self._sends_until
        received: int = self._connection.recv_into(buffer)
        self._waits_until = math.inf
        if self._is_late:
            raise TimeoutError
        self.request_begins()
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

    def hang_up(self) -> None:
        """End an idle connection. A request that has just arrived is still read: only what comes later is refused."""
        if self.idle_since is not None:
            with suppress(OSError):
                self._connection._sock.shutdown(socket.SHUT_RD)  # gevent's own shutdown() would not read what is there


_peers: set[_Peer] = set()
"""Of all connections of this process."""


class Handler(PyWSGIHandler):  # type: ignore[misc]  # gunicorn is not typed
    """One connection."""

    headers: Head
    provided_date: str | bytes | None
    worker: "WebWorker"

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
        self._peer.expect_request(self.worker.cfg.keepalive)
        return super().handle_one_request()

    def read_requestline(self) -> str:
        """The first line of a request, which may have been read together with the request before it."""
        line: str = super().read_requestline()
        self._peer.request_begins()
        return line

    def handle_one_response(self) -> None:
        """Answer, and count the request (`max_requests`)."""
        self.worker.count_request()
        super().handle_one_response()

    def MessageClass(self, rfile: io.BufferedReader, _seekable: int) -> Head:  # noqa: N802 - pywsgi's name
        """The head of a request."""
        return Head(rfile)

    def finalize_headers(self) -> None:
        """The date is the same for a whole second. A worker that stops takes no further request on this connection."""
        if self.provided_date is None:
            date = self.provided_date = _date(int(time.time()))
            self.response_headers.append((b"Date", date))
        if not self.worker.alive:
            self.close_connection = True
            self.response_headers.append((b"Connection", b"close"))
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


def _look_after_peers(worker: "WebWorker") -> bool:
    """End the connections of peers that are late, and of idle ones where room is needed."""
    gevent.sleep(LOOK_SECONDS)
    now = time.monotonic()
    for peer in list(_peers):
        peer.drop_if_late(now)
    too_many = len(_peers) - int(FULL * worker.worker_connections) if worker.alive else len(_peers)
    if too_many > 0:
        idle = [peer for peer in _peers if peer.idle_since is not None]
        for peer in sorted(idle, key=lambda peer: peer.idle_since or 0.0)[:too_many]:
            peer.hang_up()
    return True


@lru_cache(1)
def _date(second: int) -> bytes:
    text: bytes = pywsgi.format_date_time(second)
    return text


class Server(pywsgi.WSGIServer):  # type: ignore[misc]  # gevent is not typed
    """Hands connections to handlers; a TLS handshake has a deadline too."""

    def wrap_socket_and_handle(self, connection: socket.socket, address: Any) -> Any:
        """Shake hands, then handle. A peer that does not get through the handshake is no error of ours."""
        connection.settimeout(REQUEST_SECONDS)
        try:
            secured = self.wrap_socket(connection, **self.ssl_args)
        except OSError as error:
            log.info("tls_handshake_failed", reason=getattr(error, "reason", None) or type(error).__name__)
            return
        secured.settimeout(None)  # it has the handshake's time limit, and may be idle for longer
        with closing(secured):
            self.handle(secured, address)


class WebWorker(GeventWorker):  # type: ignore[misc]
    """What `worker_class` in gunicorn.conf.py names."""

    server_class = Server
    wsgi_handler = Handler
    alive: bool
    _looking: gevent.Greenlet | None = None

    def patch(self) -> None:
        """Let gevent change Python, and psycopg know of it.

        psycopg looks when it is imported, which the master has done before, with the settings. Without a word it would
        wait for PostgreSQL in C, and the whole process with it.
        """
        super().patch()
        waiting.wait, waiting._ready = waiting.wait_poll, waiting._ready_poll

    def load_wsgi(self) -> None:
        """Load the application, and let the garbage collector pass over what stays for good."""
        super().load_wsgi()
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_THRESHOLD, 20, 100)

    def run(self) -> None:
        """Serve, and look after the peers. What goes wrong in a greenlet is logged as everything else is."""
        Handler.worker = self
        gevent.get_hub().print_exception = _log_exception
        self._looking = self._look()
        super().run()

    def notify(self) -> None:
        """Tell the master once a second that this process is well. It looks after us, and we after who looks."""
        if self._looking is not None and self._looking.dead:
            log.error("look_started_again")
            self._looking = self._look()
        super().notify()

    def count_request(self) -> None:
        """After `max_requests` this worker stops, and the master starts another."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.alive = False
            log.info("worker_restarts", reason="max_requests")

    def _look(self) -> gevent.Greenlet:
        return gevent.spawn(endless, partial(_look_after_peers, self), name="look")


def _log_exception(_context: Any, kind: Any, error: Any, traceback: Any) -> None:
    """gevent would print a bare traceback between the lines of JSON."""
    log.error("unexpected_error", exc_info=(kind, error, traceback))
