"""What is signed: the parts of a scheme's template, each filled in by a named function. To add one: a line in `_PARTS`.

Where parts stand side by side, another cut of the same text could be another delivery. So the text is cut again at the
texts between the parts, and the delivery is refused unless that gives the same parts (`reads_back()`). A scheme with
nothing between two parts can't be cut: weaknesses.py names it.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from receiver.protocol.fields import ESCAPES, SignedFields
from receiver.protocol.forms import parse_query
from receiver.protocol.schemes import DIGESTS, PATH, QUERY, SignatureScheme

Pieces = Sequence[bytes | None]
"""The parts in their order. None stands for the secret."""
LOOSE = ("field", "header", "query")
"""Parts in which a sender may write any text."""


class Delivered(NamedTuple):
    """What a template is filled in from. The names of headers are in lower case."""

    body: bytes
    headers: Mapping[str, str]
    fields: SignedFields
    message_id: str
    timestamp: str

    def __repr__(self) -> str:
        """Without the body, which is clear text."""
        return f"Delivered({len(self.body)} bytes)"


def content_pieces(scheme: SignatureScheme, delivered: Delivered) -> list[bytes | None]:
    """The parts of what is signed. Raises UnusablePayload when the body has not the fields."""
    pieces: list[bytes | None] = []
    for name, argument, literal in scheme.encoded_parts:
        pieces.append(_PARTS[name](scheme, delivered, argument) if name else literal)
    return pieces


def filled_in(pieces: Pieces, key: bytes) -> bytes:
    """The bytes that are signed."""
    return b"".join([key if piece is None else piece for piece in pieces])


def reads_back(scheme: SignatureScheme, pieces: Pieces) -> bool:
    """Whether cutting the text at what is between its parts gives these parts.

    What stands before the body is cut from the left, and what stands behind it from the right. Without a body, the last
    part that may hold any text takes its place.
    """
    names = [name for name, _ in scheme.content_parts]
    loose = [place for place, name in enumerate(names) if name in LOOSE]
    large = [place for place, name in enumerate(names) if name and name not in (*LOOSE, *_BOUND)]
    middle = large[0] if large else loose[-1] if loose else 0  # it may hold any text: all others end where it begins
    for place, name in enumerate(names):
        if name not in LOOSE or place == middle:
            continue
        step = 1 if place < middle else -1
        between = _literal(names, pieces, place, step)
        if between and not _cut_holds(pieces[place] or b"", between, step):
            return False
    return True


def _literal(names: Sequence[str], pieces: Pieces, place: int, step: int) -> bytes:
    """The text next to a part, on the side of the body."""
    beside = place + step
    return (pieces[beside] or b"") if 0 <= beside < len(names) and not names[beside] else b""


def _cut_holds(value: bytes, between: bytes, step: int) -> bool:
    return (value + between).find(between) == len(value) if step == 1 else (between + value).rfind(between) == 0


_BOUND = ("id", "timestamp", "url", "method", "path", "secret")
"""Parts that can't hold any text, or are the same for all deliveries."""


def _body(_scheme: SignatureScheme, delivered: Delivered, _argument: str) -> bytes:
    return delivered.body


def _body_digest(name: str, scheme: SignatureScheme, delivered: Delivered, _argument: str) -> bytes:
    return hashlib.new(name, delivered.body).hexdigest().encode()


def _body_digest_base64(name: str, scheme: SignatureScheme, delivered: Delivered, _argument: str) -> bytes:
    return base64.b64encode(hashlib.new(name, delivered.body).digest())


def _fields(scheme: SignatureScheme, delivered: Delivered, _argument: str) -> bytes:
    return delivered.fields.text_of(scheme)


def _field(scheme: SignatureScheme, delivered: Delivered, argument: str) -> bytes:
    return ESCAPES[scheme.field_escape](delivered.fields.chosen(argument)).encode(errors="surrogatepass")


def _header(_scheme: SignatureScheme, delivered: Delivered, argument: str) -> bytes:
    return delivered.headers.get(argument.lower(), "").encode("latin-1", "replace")


def _query(_scheme: SignatureScheme, delivered: Delivered, argument: str) -> bytes:
    return parse_query(delivered.headers.get(QUERY, "")).get(argument, "").encode()


def _id(_scheme: SignatureScheme, delivered: Delivered, _argument: str) -> bytes:
    return delivered.message_id.encode()


def _timestamp(_scheme: SignatureScheme, delivered: Delivered, _argument: str) -> bytes:
    return delivered.timestamp.encode()


def _url(scheme: SignatureScheme, _delivered: Delivered, _argument: str) -> bytes:
    return scheme.url.encode()


def _method(_scheme: SignatureScheme, _delivered: Delivered, _argument: str) -> bytes:
    return b"POST"


def _path(_scheme: SignatureScheme, delivered: Delivered, _argument: str) -> bytes:
    return delivered.headers.get(PATH, "").encode()


def _secret(_scheme: SignatureScheme, _delivered: Delivered, _argument: str) -> None:
    """The key fills it in: there may be several."""


_PARTS: Mapping[str, Callable[[SignatureScheme, Delivered, str], bytes | None]] = {
    "body": _body,
    **{f"body_{name}": partial(_body_digest, name) for name in DIGESTS},
    **{f"body_{name}_base64": partial(_body_digest_base64, name) for name in DIGESTS},
    "fields": _fields,
    "field": _field,
    "header": _header,
    "query": _query,
    "id": _id,
    "timestamp": _timestamp,
    "url": _url,
    "method": _method,
    "path": _path,
    "secret": _secret,
}
