"""What counts as a request. gunicorn's parser reads it. This module makes it strict, and adds rules that it lacks.

A request that a router in front of us could read in another way is refused: it could smuggle a second request past
that router (RFC 9112, 11.2). Everything that can be long has a bound. To refuse something else, add it to
`Request._check()`, and a case to tests/receiver/security/raw_requests.py.
"""

import re
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote_to_bytes

from gunicorn.http import body, errors, message

from receiver.forwarded import REPEATED
from receiver.privacy.remembered import remembered
from receiver.server.peer import Peer

MOST_HEAD_BYTES = 32 * 1024
MOST_FRAMING_BYTES = 8 * 1024
"""The bound of sizes, extensions and line ends around the chunks of one body: at least five bytes for each chunk."""
MOST_CHUNK_BYTES = 2**32
"""The bound of one chunk. Some routers are known to cut a larger size."""
MOST_LENGTH_DIGITS = 18
SKIPPED_BYTES = 64 * 1024
"""How much of an unread body is read away. If more is left, the connection is closed."""

RULES = SimpleNamespace(
    is_ssl=False,
    http_parser="python",
    proxy_protocol="off",
    header_map="drop",  # WSGI can't tell a name with an underscore from one with a dash
    limit_request_line=8190,
    limit_request_fields=100,
    limit_request_field_size=8190,
    permit_unconventional_http_method=False,
    permit_unconventional_http_version=False,
    permit_obsolete_folding=False,
    casefold_http_method=False,
    strip_header_spaces=False,
)
"""gunicorn's settings for its parser. Settings of the command line don't count: none of them makes it stricter."""

_LENGTH = re.compile(rf"[0-9]{{1,{MOST_LENGTH_DIGITS}}}")
_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_VERSIONS = {(1, 0): "HTTP/1.0", (1, 1): "HTTP/1.1"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BrokenBody(OSError):
    """The body of a request can't be read to its end: it is malformed, too slow, or its sender is gone."""


class Request(message.Request):  # type: ignore[misc]  # gunicorn is not typed
    """The next request of a peer, whose body has not been read.

    Raises StopIteration when there is none, OSError when the peer is gone or too slow, and one of gunicorn's
    ParseException when it is malformed, ambiguous or too long.
    """

    unreader: Peer
    headers: list[tuple[str, str]]
    fields: dict[str, str]
    """The header fields, as WSGI names them."""
    body: "Body"

    def __init__(self, peer: Peer) -> None:
        super().__init__(RULES, peer, None)

    def _peer_trusted_for_forwarded(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """Nothing: receiver/forwarded.py alone decides what to believe of a router."""
        return {}, ()

    def read_into(self, unreader: Peer, buf: bytearray, stop: bool = False) -> None:
        """Read more of the head."""
        super().read_into(unreader, buf, stop)
        if len(buf) > MOST_HEAD_BYTES:
            raise errors.LimitRequestHeaders("too many header fields")

    def set_body_reader(self) -> None:
        """The head is read. Find out where the body ends."""
        self.fields = _fields(self.headers)
        self._check()
        is_chunked = "HTTP_TRANSFER_ENCODING" in self.fields
        reader = _Chunks(self, self.unreader) if is_chunked else _Whole(self.unreader, self._length())
        self.body = Body(reader, self.unreader, is_expected=self._expected_100_continue)

    def environ(self, base: dict[str, Any], address: Any) -> dict[str, Any]:
        """The WSGI environment of this request."""
        environ = base | self.fields
        if isinstance(address, tuple):
            environ["REMOTE_ADDR"] = str(address[0]).removeprefix("::ffff:")  # IPv4, at a socket of both kinds
            environ["REMOTE_PORT"] = str(address[1])
        environ["REQUEST_METHOD"] = self.method
        environ["PATH_INFO"] = _path(self.path)
        environ["QUERY_STRING"] = self.query
        environ["RAW_URI"] = self.uri
        environ["SERVER_PROTOCOL"] = _VERSIONS[self.version]
        environ["wsgi.input"] = self.body
        return environ

    def should_close(self) -> bool:
        """Whether the peer wants the connection closed after this request."""
        options = self.fields.get("HTTP_CONNECTION")
        if options is None:
            return bool(self.version == (1, 0))
        named = {option.strip(" \t") for option in options.lower().split(",")}
        return "close" in named or (self.version == (1, 0) and "keep-alive" not in named)

    def _check(self) -> None:
        if self.version not in _VERSIONS:
            raise errors.InvalidHTTPVersion(self.version)
        if self.method == "CONNECT" or self.uri == "*" or "#" in self.uri:
            raise errors.InvalidRequestLine("no resource of this server")
        coding = self.fields.get("HTTP_TRANSFER_ENCODING")
        if coding is not None and (coding.lower() != "chunked" or self.version == (1, 0)):
            raise errors.UnsupportedTransferCoding("not chunked alone")
        if coding is not None and "CONTENT_LENGTH" in self.fields:
            raise errors.InvalidHeader("CONTENT-LENGTH")
        self._check_host()

    def _length(self) -> int:
        """The length of the body. Several fields of this name are a list here, which is not a number."""
        length = self.fields.get("CONTENT_LENGTH", "0")
        if not _LENGTH.fullmatch(length):
            raise errors.InvalidHeader("CONTENT-LENGTH")
        return int(length)

    def _check_host(self) -> None:
        """Check that there is exactly one Host. A whole address in the request line must agree (RFC 9112, 3.2)."""
        host = self.fields.get("HTTP_HOST")
        if host is None and self.version == (1, 0):
            host = ""
        elif host is None or not _HOST.fullmatch(host):
            raise errors.InvalidHeader("HOST")
        if not self.uri.startswith("/"):
            scheme, _, rest = self.uri.partition("://")
            authority = re.split(r"[/?]", rest, maxsplit=1)[0]
            if scheme.lower() not in ("http", "https") or authority.lower() != host.lower() or not authority:
                raise errors.InvalidRequestLine("another host")


class Body(body.Body):  # type: ignore[misc]  # gunicorn is not typed
    """The body of a request, for `wsgi.input`. Reading it raises BrokenBody."""

    def __init__(self, reader: Any, peer: Peer, *, is_expected: bool) -> None:
        super().__init__(reader)
        self._peer = peer
        self._is_expected = is_expected  # it is sent only when we ask for it

    def read(self, size: int | None = None) -> bytes:
        """So many bytes, or all that are left. Mostly the whole body is read at once, which is the short way."""
        if size is not None and size == self.reader.left() and not self.buf.tell():
            return self._read_reader(size)
        read: bytes = super().read(size)
        return read

    def may_be_skipped(self) -> bool:
        """Whether the next request can be reached: nothing of this body is left, or little that is already coming."""
        if self.failed:
            return False
        left: int | None = self.reader.left()
        return left == 0 or (left is not None and left <= SKIPPED_BYTES and not self._is_expected)

    def skip(self) -> None:
        """Read away what is left."""
        while self.reader.left():
            self._read_reader(SKIPPED_BYTES)

    def _read_reader(self, size: int) -> bytes:
        if self._is_expected and self.reader.left() != 0:
            self._peer.sendall(_CONTINUE)
        self._is_expected = False
        try:
            read: bytes = super()._read_reader(size)
        except Exception as error:
            if isinstance(error, errors.ParseException):
                self._peer.hold_back()
            raise BrokenBody(type(error).__name__) from error
        return read


class _Whole(body.LengthReader):  # type: ignore[misc]  # gunicorn is not typed
    """A body of known length. If it ends too early, it is broken."""

    def left(self) -> int:
        """How many bytes are not read yet."""
        return int(self.length)

    def read(self, size: int) -> bytes:
        """So many bytes, or all that are left."""
        wanted = min(size, self.length)
        read: bytes = super().read(size)
        if len(read) < wanted:
            raise errors.NoMoreData
        return read


class _Chunks(body.ChunkedReader):  # type: ignore[misc]  # gunicorn is not typed
    """A body in chunks. What is around the chunks has a bound."""

    def __init__(self, request: Request, peer: Peer) -> None:
        super().__init__(request, peer)
        self.limit_trailer_section = MOST_FRAMING_BYTES
        self._peer, self._begun, self._promised = peer, peer.taken, 0

    def left(self) -> int | None:
        """0 at the end. None before: the number is unknown."""
        return 0 if self.parser is None and not self.buf.getvalue() else None

    def parse_chunk_size(self, unreader: Peer, data: bytes | None = None) -> tuple[int, bytes | None]:
        """The size of the next chunk, and the bytes behind the size that were read with it."""
        self._peer.give_way()
        size, rest = super().parse_chunk_size(unreader, data)
        framing = self._peer.taken - len(rest or b"") - self._begun - self._promised
        if framing > MOST_FRAMING_BYTES or size >= MOST_CHUNK_BYTES:
            raise errors.InvalidChunkSize(b"too much")
        self._promised += size
        return size, rest


def _fields(headers: list[tuple[str, str]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers:
        key = _environ_key(name)
        if key in fields:
            fields[key] += f"{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
            if key.startswith("HTTP_X_FORWARDED_"):
                fields[REPEATED] = f"{fields.get(REPEATED, '')} {key}"
        else:
            fields[key] = value
    return fields


@remembered
def _environ_key(name: str) -> str:
    key = name.replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _path(path: str) -> str:
    return (unquote_to_bytes(path).decode("latin-1") if "%" in path else path) or "/"
