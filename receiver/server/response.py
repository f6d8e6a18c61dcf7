"""The answer to a request, as WSGI gives it: which parts may be sent, and how the peer learns where it ends.

gunicorn's own patterns refuse a status or a header that could end a line too early. The head and the first piece of
the body are sent together.
"""

import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from gunicorn.http.message import TOKEN_RE
from gunicorn.http.wsgi import HEADER_VALUE_RE, STATUS_RE

from receiver.server.peer import Peer
from receiver.server.request import Request

Headers = list[tuple[str, str]]


class ResponseWriter:
    """Sends one answer. `status`, `headers` and `sent` (bytes of the body) are what gunicorn's access log asks for."""

    def __init__(self, request: Request, peer: Peer, may_go_on: Callable[[], bool]) -> None:
        self._request, self._peer, self._may_go_on = request, peer, may_go_on
        self.status = "-"  # nothing was sent
        self.headers: Headers = []
        self.sent = 0
        self.has_begun = False
        self.ends_connection = request.should_close()
        self._head = b""
        self._left: int | None = None  # of the body that the headers announce
        self._is_chunked = self._has_no_body = False

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        """WSGI's `start_response`. Raises ValueError for a broken header, and the given error if it comes too late."""
        if exc_info and self.has_begun:
            raise exc_info[1]
        self.status, self.headers = status, headers
        self._head = b"".join([_status_line(status), *[_line(name, value) for name, value in headers]])
        return self.write

    def write(self, data: bytes) -> None:
        """Send a piece of the body, and never more than was announced."""
        self._begin()
        if self._has_no_body:
            data = b""
        elif self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        self.sent += len(data)
        if data and self._is_chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self._send(data)

    def finish(self) -> None:
        """The body is complete. If it is shorter than announced, only the end of the connection can tell the peer."""
        self._begin()
        self._send(b"0\r\n\r\n" if self._is_chunked else b"")
        if self._left and not self._has_no_body:
            self.ends_connection = True

    def _begin(self) -> None:
        if self.has_begun:
            return
        if not self._head:
            raise ValueError("start_response() was not called")
        self.has_begun = True
        names = {name.lower(): value for name, value in self.headers}
        self._left = int(names["content-length"]) if "content-length" in names else None
        self._has_no_body = self._request.method == "HEAD" or self.status[:3] in ("204", "304")
        is_current = self._request.version == (1, 1)
        self._is_chunked = is_current and self._left is None and not self._has_no_body
        ends_itself = self._is_chunked or self._left is not None or self._has_no_body
        asks = names.get("connection", "").lower() == "close"
        self.ends_connection = self.ends_connection or asks or not ends_itself or not self._may_go_on()
        self._head += b"" if "date" in names else _date(int(time.time()))
        self._head += b"Transfer-Encoding: chunked\r\n" if self._is_chunked else b""
        self._head += b"" if asks else b"Connection: close\r\n" if self.ends_connection else _KEPT[is_current]
        self._head += b"\r\n"

    def _send(self, data: bytes) -> None:
        head, self._head = self._head, b""
        if head or data:
            self._peer.sendall(head + data)


_KEPT = {False: b"Connection: keep-alive\r\n", True: b""}
"""The line that tells HTTP/1.0 that the connection stays open. HTTP/1.1 assumes it."""


@lru_cache(64)
def _status_line(status: str) -> bytes:
    if not STATUS_RE.fullmatch(status):
        raise ValueError("no status")
    return f"HTTP/1.1 {status}\r\n".encode("latin-1")


@lru_cache(512)
def _line(name: str, value: str) -> bytes:
    """A line of the head. Lines are remembered, because most of them repeat. Raises ValueError."""
    if not TOKEN_RE.fullmatch(name) or not HEADER_VALUE_RE.fullmatch(value):
        raise ValueError("no header")
    return f"{name}: {value}\r\n".encode("latin-1")


@lru_cache(1)
def _date(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
