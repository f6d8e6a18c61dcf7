"""The head of a request, read strictly (RFC 9112, 5).

A line that is no field, a folded one, or a length that a router in front of us may understand otherwise is refused, for
it could smuggle a second request past that router.
"""

import io
import re
from collections.abc import Iterator

from app.remembered import remembered

MOST_HEAD_BYTES = 64 * 1024
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\0]*)\r\n")
_LENGTHS = ("content-length", "transfer-encoding")


class Head:
    """The header fields of a request, read from `rfile` up to the empty line, as pywsgi looks at them.

    Raises ValueError when they are malformed, ambiguous or too many.
    """

    status = ""  # pywsgi's word for a head that could not be read

    def __init__(self, rfile: io.BufferedReader) -> None:
        block = b"".join(_lines(rfile)).decode("latin-1")
        fields: list[tuple[str, str]] = _FIELD.findall(block)
        if len("".join(map("".join, fields))) + len(":\r\n") * len(fields) != len(block):
            raise ValueError("malformed header")
        self._fields = [(name, value.strip(" \t")) for name, value in fields]
        self._known = {name.lower(): value for name, value in self._fields}
        self._check_length()

    @property
    def typeheader(self) -> str | None:
        """The content type."""
        return self._known.get("content-type")

    def items(self) -> list[tuple[str, str]]:
        """Names and values, for the access log."""
        return self._fields

    def environ(self) -> Iterator[tuple[str, str]]:
        """Names and values, as WSGI names them. A name with an underscore would pass for one with a dash: dropped."""
        for name, value in self._fields:
            key = _environ_key(name)
            if key is not None:
                yield key, value

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


@remembered
def _environ_key(name: str) -> str | None:
    key = name.upper().replace("-", "_")
    return None if "_" in name or key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _lines(rfile: io.BufferedReader) -> Iterator[bytes]:
    """The lines of a head, without the empty one at its end. Raises ValueError when there is too much of it."""
    left = MOST_HEAD_BYTES
    while (line := rfile.readline(left)) not in (b"\r\n", b"\n", b""):
        left -= len(line)
        if left <= 0:
            raise ValueError("too many header fields")
        yield line
