"""gunicorn's gevent worker, with a deadline for everything that a peer may be slow at.

A greenlet costs little, so a thousand connections wait for a slow peer as cheaply as one; but none may wait for ever.
A request has to be there, head and body, `REQUEST_SECONDS` after its connection last was idle; each piece of an answer
has to be taken within `SEND_SECONDS`. No timer interrupts the application for it: the socket itself knows when its
time is up, so what is being stored is stored.
"""

import gc
import io
import math
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import structlog
from gevent import pywsgi, socket
from gunicorn.workers.ggevent import GeventWorker, PyWSGIHandler

from app.logs import LOGGED

REQUEST_SECONDS = 10.0
SEND_SECONDS = 10.0
GARBAGE_THRESHOLD = 20_000
MOST_HEAD_BYTES = 64 * 1024
log = structlog.get_logger()
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\0]*)\r\n")
_LENGTHS = ("content-length", "transfer-encoding")


class _Incoming(io.RawIOBase):
    """What a peer sends, until the deadline."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.ends_at = math.inf

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        received: int = self._connection.recv_into(buffer)
        return received


class Head:
    """The header fields of a request, as pywsgi looks at them.

    Read strictly (RFC 9112, 5): a line that is no field, a folded one, or a length that a router in front of us may
    understand otherwise is refused, for it could smuggle a second request past that router.
    """

    status = ""  # pywsgi's word for a head that could not be read

    def __init__(self, lines: Iterator[bytes]) -> None:
        block = b"".join(lines)
        fields = _FIELD.findall(block)
        if sum(len(name) + len(value) + len(":\r\n") for name, value in fields) != len(block):
            raise ValueError("malformed header")
        self._fields = [(name.decode("latin-1"), value.decode("latin-1").strip(" \t")) for name, value in fields]
        self._known = {name.lower(): value for name, value in self._fields}
        self._check_length()

    @property
    def headers(self) -> list[str]:
        """Line by line."""
        return [f"{name}: {value}" for name, value in self._fields]

    @property
    def typeheader(self) -> str | None:
        """The content type."""
        return self._known.get("content-type")

    def items(self) -> list[tuple[str, str]]:
        """Names and values, for the access log."""
        return self._fields

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of a field, or the last one's of several."""
        return self._known.get(name.lower(), default)

    getheader = get

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def _check_length(self) -> None:
        named = [name for name in (name.lower() for name, _ in self._fields) if name in _LENGTHS]
        if len(named) > 1 or self._known.get("transfer-encoding", "chunked").lower() != "chunked":
            raise ValueError("ambiguous length")


class Handler(PyWSGIHandler):  # type: ignore[misc]  # gunicorn is not typed
    """One connection."""

    def __init__(self, connection: socket.socket, address: Any, server: pywsgi.WSGIServer) -> None:
        self._incoming = _Incoming(connection)
        self._held: bytearray | None = None
        super().__init__(connection, address, server, rfile=io.BufferedReader(self._incoming))

    def handle(self) -> None:
        """All requests of the connection. A peer that is gone when it is answered is no error of ours."""
        with suppress(OSError):
            super().handle()

    def handle_one_request(self) -> Any:
        """The next request of the connection."""
        self._incoming.ends_at = time.monotonic() + REQUEST_SECONDS
        return super().handle_one_request()

    def MessageClass(self, rfile: io.BufferedReader, _seekable: int) -> Head:  # noqa: N802 - pywsgi's name
        """The head of a request, up to the empty line."""
        return Head(_lines(rfile))

    def log_request(self) -> None:
        """A delivery has a line of its own, and so has what was no request."""
        if self.environ is not None and LOGGED not in self.environ:
            super().log_request()

    def _write_with_headers(self, data: bytes) -> None:
        """The head and the beginning of the body in one packet."""
        self._held = bytearray()
        super()._write_with_headers(data)
        held, self._held = self._held, None
        self.response_length -= len(held)
        self._sendall(held)

    def _sendall(self, data: bytes | bytearray) -> None:
        if self._held is not None:
            self._held += data
            self.response_length += len(data)
            return
        self.socket.settimeout(SEND_SECONDS)
        super()._sendall(data)

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


def _lines(rfile: io.BufferedReader) -> Iterator[bytes]:
    """The lines of a head, without the empty one at its end. Raises ValueError when there is too much of it."""
    left = MOST_HEAD_BYTES
    while (line := rfile.readline(left)) not in (b"\r\n", b"\n", b""):
        left -= len(line)
        if left <= 0:
            raise ValueError("too many header fields")
        yield line


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
