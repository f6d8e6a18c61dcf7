"""What `{fields}` stands for, and which body a signature over it vouches for.

A signature over `{fields}` covers one text, and many bodies can have this text: `a=1|b=2` is two fields, or one field
whose value holds the separator. So we read the text, not the body. `vouched_body()` is the one body that the signed
text gives. Nothing behind the door sees another body. Two readings can't pass under one signature, because:

1. The text is cut at every field separator, then each piece at its first value separator. If the delivery's own fields
   differ from these pieces, the delivery is refused. So all deliveries that pass with one text have the same paths and
   values.
2. The paths are cut at every dot. A key that is empty or holds a dot is refused. An object whose keys are 0, 1, 2 … is
   refused too, because its paths are those of a list. So all deliveries that pass have the same structure.
3. The text is the same for `1` and `"1"`, and for `null` and `""`. An object or list without values leaves no trace in
   it. Honest senders write all of these, so none of them is refused. But the handler gets only what is signed: each
   value as its text, `null` for an empty value, and no empty objects and lists. A list with an empty item is refused,
   because its other items could not keep their numbers.

One attack remains. A sender that writes a separator into a value signs a text that gives another body. We refuse that
delivery. But a person who sees its signature can send that other body. Only a signature over `{body}` rules this out.

A scheme without separators has no cut 1: schemes.weakness() names it, and the live environment refuses it.

The body is read before we know who sent it, so the cost is bounded: MOST_VALUES, MOST_DEPTH and the length of all
paths. To render another kind of value, add it to `_text()`.
"""

import json
import re
from functools import cached_property
from typing import Any

from receiver.protocol.errors import InvalidSignature, UnusablePayload
from receiver.protocol.json_body import MOST_DEPTH, parse_object

MOST_VALUES = 10_000
"""Objects, lists and single values in a body."""
MOST_SIGNS = 5 * MOST_VALUES
"""How many of these a value can have: a key, two brackets or two quotes, and a comma. A text with more is not JSON."""
PATHS_PER_BYTE = 4
ROOM_FOR_PATHS = 65_536
"""All paths together may have so many characters, plus PATHS_PER_BYTE for each byte of the body. A long key is repeated
in the path of everything below it."""

HEAVY = frozenset({"too_many_values", "too_deep", "paths_too_long"})
"""The reasons for which a body is refused because reading it would cost too much. It may be correct JSON."""

Field = tuple[str, str]
"""The dotted path of a value, and its text."""

_SIGNS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{\]},]', re.DOTALL)
"""What a body is made of: whole texts, brackets and commas."""
_NOTHING: Any = object()


class SignedFields:
    """The fields of a body that is not yet proved authentic. The body is read at the first question, and only once.

    `without` is the path of the signature in the body, or empty. Each question raises UnusablePayload when the bytes
    are not an object, or when reading them would cost too much.
    """

    def __init__(self, body: bytes, *, without: str) -> None:
        self._body, self._without = body, without

    @cached_property
    def payload(self) -> dict[str, Any]:
        """The object in the bytes. Numbers are as they were written."""
        _refuse_heavy(self._body)
        return parse_object(self._body, literal_numbers=True)

    @cached_property
    def all(self) -> list[Field]:
        """Every field that is signed, sorted."""
        found: list[Field] = []
        _gather(self.payload, "", found, ROOM_FOR_PATHS + PATHS_PER_BYTE * len(self._body))
        found.sort()
        return [field for field in found if field[0] != self._without] if self._without else found

    def text(self, value_separator: str, field_separator: str) -> bytes:
        """The text that `{fields}` stands for."""
        return field_separator.join(_pieces(self.all, value_separator)).encode(errors="surrogatepass")

    def vouched_body(self, value_separator: str, field_separator: str) -> bytes:
        """The body that the signed text gives. Raises InvalidSignature when something else was delivered."""
        if not _reads_back(self.all, value_separator, field_separator):
            raise _ambiguous()
        told = _told(self.payload, "", self._without)
        return json.dumps({} if told is _NOTHING else told, sort_keys=True).encode()


def _refuse_heavy(body: bytes) -> None:
    """Count brackets and commas. Which of them are inside strings matters only when there are many."""
    if _opened(body) <= MOST_DEPTH and _values(body) <= MOST_VALUES:
        return
    values, depth = 0, 0
    for signs, found in enumerate(_SIGNS.finditer(body)):
        sign = body[found.start()]
        values += sign in b",[{"
        depth += (sign in b"[{") - (sign in b"]}")
        if depth > MOST_DEPTH:
            raise UnusablePayload({"body": ["too_deep"]})
        if values > MOST_VALUES or signs > MOST_SIGNS:
            raise UnusablePayload({"body": ["too_many_values"]})


def _opened(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")


def _values(text: bytes) -> int:
    return _opened(text) + text.count(b",")


def _gather(value: Any, path: str, found: list[Field], room: int) -> int:
    """Add the fields of the value. Items of a list are numbered from 0. Returns how much room for paths is left."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        found.append((path, _text(value)))
        return room
    for key, item in inner:
        below = f"{path}.{key}" if path else str(key)
        room -= len(below)
        if room < 0:
            raise UnusablePayload({"body": ["paths_too_long"]})
        room = _gather(item, below, found, room)
    return room


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _pieces(fields: list[Field], value_separator: str) -> list[str]:
    return [f"{path}{value_separator}{text}" for path, text in fields]


def _reads_back(fields: list[Field], value_separator: str, field_separator: str) -> bool:
    """Whether cutting the signed text gives these fields."""
    pieces = _pieces(fields, value_separator)
    if pieces and field_separator and field_separator.join(pieces).split(field_separator) != pieces:
        return False
    return not value_separator or all(
        piece.partition(value_separator)[::2] == field for piece, field in zip(pieces, fields, strict=True)
    )


def _told(value: Any, path: str, without: str) -> Any:
    """What the signed text says about the value, or _NOTHING."""
    if without and path == without:
        return _NOTHING
    if isinstance(value, dict):
        return _told_of_object(value, path, without)
    if isinstance(value, list):
        items = [_told(item, f"{path}.{number}", without) for number, item in enumerate(value)]
        if any(item is _NOTHING for item in items):
            raise _ambiguous()
        return items or _NOTHING
    return _text(value) or None


def _told_of_object(value: dict[str, Any], path: str, without: str) -> Any:
    kept = {}
    for key, item in value.items():
        if not key or "." in key:
            raise _ambiguous()
        told = _told(item, f"{path}.{key}" if path else key, without)
        if told is not _NOTHING:
            kept[key] = told
    if path and kept and kept.keys() == {str(number) for number in range(len(kept))}:
        raise _ambiguous()
    return kept or _NOTHING


def _ambiguous() -> InvalidSignature:
    return InvalidSignature("ambiguous")
