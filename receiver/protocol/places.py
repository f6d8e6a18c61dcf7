"""Where a field of the envelope is found: a dotted path of the body, or one of the forms below.

    a.b               the value at this path of the body
    header:X-Name     a header. An event ID may come from a signed header alone
    constant:text     always this text
    {a.b}:{c}         a template: paths in braces, and texts between them. Also {header:X}, {body_sha256}, {received_at}

To add a form: a line in `_SOURCES`. What a template is filled in from is kept beside the body, so a replay reads the
same (kept.py).
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

from receiver.protocol.errors import InvalidScheme
from receiver.protocol.fields import item_at

BODY_SHA256, RECEIVED_AT = "body_sha256", "received_at"
HEADER, CONSTANT = "header:", "constant:"
LONGEST_HEADER = 400
_BRACES = re.compile(r"(\{[^{}]+\})")


class Beside(NamedTuple):
    """What a delivery has beside its body. The names of headers are in lower case."""

    headers: Mapping[str, str] = {}
    received_at: datetime | None = None


Source = Callable[[bytes, Mapping[str, Any], Beside], Any]


class Place(NamedTuple):
    """Where a field is found. `paths` and `headers` are what it is made of, for questions about what is signed."""

    parts: tuple[Source, ...]
    paths: tuple[str, ...]
    headers: tuple[str, ...]
    is_time: bool = False
    needs_all: bool = True

    def value(self, body: bytes, payload: Mapping[str, Any], beside: Beside) -> Any:
        """The field's value. None where the delivery has none."""
        found = [part(body, payload, beside) for part in self.parts]
        if len(found) == 1:
            return found[0]
        if any(value is None or isinstance(value, dict | list) for value in found):
            return None
        return "".join(_text(value) for value in found)


class Places(dict[str, str]):
    """A field mapping with places that are no plain paths. `special` has these, by field."""

    special: Mapping[str, Place]
    otherwise: Mapping[str, Place]
    """Where a field is looked for when it is not at its path."""

    def __init__(self, mapping: Mapping[str, str], otherwise: Mapping[str, str]) -> None:
        super().__init__(mapping)
        self.special = {name: place_of(text) for name, text in mapping.items() if not is_path(text)}
        self.otherwise = {name: place_of(text) for name, text in otherwise.items()}

    @cached_property
    def headers(self) -> tuple[str, ...]:
        """The headers that fields come from, in lower case."""
        places = (*self.special.values(), *self.otherwise.values())
        return tuple(dict.fromkeys(name for place in places for name in place.headers))

    def needs_beside(self, payload: Mapping[str, Any]) -> bool:
        """Whether reading this payload needs more than the payload."""
        if self.special:
            return True
        return any(payload.get(self[name]) is None for name in self.otherwise)  # their paths are the defaults

    @cached_property
    def needs_arrival(self) -> bool:
        """Whether a field comes from the moment of arrival."""
        return any(place.is_time for place in self.special.values())


def is_path(text: str) -> bool:
    """Whether the place is a plain dotted path."""
    return not text.startswith((HEADER, CONSTANT)) and "{" not in text


@lru_cache(256)
def place_of(text: str) -> Place:
    """The place that a setting's text means. Raises InvalidScheme."""
    if text.startswith(CONSTANT):
        return Place((partial(_constant, text.removeprefix(CONSTANT)),), (), ())
    if text.startswith(HEADER):
        text = f"{{{text}}}"
    pieces = [piece for piece in _BRACES.split(text) if piece]
    sources = [piece[1:-1] if _BRACES.fullmatch(piece) else None for piece in pieces]
    named = [source for source in sources if source is not None]
    if not named and is_path(text):
        named, sources = [text], [text]
    if any("{" in piece or "}" in piece for piece, source in zip(pieces, sources, strict=True) if source is None):
        raise InvalidScheme("payload_fields", "has a template whose braces don't match")
    parts = tuple(
        partial(_constant, piece) if source is None else _source(source)
        for piece, source in zip(pieces, sources, strict=True)
    )
    headers = tuple(source.removeprefix(HEADER).lower() for source in named if source.startswith(HEADER))
    paths = tuple(source for source in named if not source.startswith(HEADER) and source not in _SOURCES)
    return Place(parts, paths, headers, is_time=RECEIVED_AT in named)


def _source(text: str) -> Source:
    if text in _SOURCES:
        return _SOURCES[text]
    if text.startswith(HEADER):
        return partial(_header, text.removeprefix(HEADER).lower())
    if not all(text.split(".")):
        raise InvalidScheme("payload_fields", "needs dotted paths in its templates")
    return partial(_path, text)


def _constant(text: str, _body: bytes, _payload: Mapping[str, Any], _beside: Beside) -> str:
    return text


def _header(name: str, _body: bytes, _payload: Mapping[str, Any], beside: Beside) -> str | None:
    return beside.headers.get(name) or None


def _path(path: str, _body: bytes, payload: Mapping[str, Any], _beside: Beside) -> Any:
    return item_at(payload, path)


def _digest(body: bytes, _payload: Mapping[str, Any], _beside: Beside) -> str:
    return hashlib.sha256(body).hexdigest()


def _arrival(_body: bytes, _payload: Mapping[str, Any], beside: Beside) -> str | None:
    return beside.received_at.isoformat() if beside.received_at else None


_SOURCES: Mapping[str, Source] = {BODY_SHA256: _digest, RECEIVED_AT: _arrival}


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
