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

One attack remains. A sender that does not escape (the axis `field_escape`) and writes a separator into a value signs a
text that gives another body. We refuse that delivery. But a person who sees its signature can send that other body.
Only an escape or a signature over `{body}` rules this out.

A scheme without separators has no cut 1: weaknesses.py names it, and the live environment refuses it.

A signature over chosen fields (`{field:a.b}`) covers these alone. The rest stays as it came, and `SignatureScheme` says
which paths are signed. The values of chosen fields are what the signed text says too: texts, and nothing for an empty
one. signatures.py cuts the text of such a scheme at the texts between its parts.

The body is read before we know who sent it, so the cost is bounded: MOST_VALUES, MOST_DEPTH and the length of all
paths. To render another kind of value, add it to `_text()`.
"""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cached_property, partial
from itertools import accumulate
from typing import Any
from urllib.parse import quote, quote_plus

from receiver.protocol.errors import InvalidSignature, UnusablePayload
from receiver.protocol.forms import parse_form
from receiver.protocol.json_body import MOST_DEPTH, at, parse_object, to_json
from receiver.protocol.schemes import SignatureScheme

MOST_VALUES = 10_000
"""Objects, lists and single values in a body."""
MOST_TEXTS = 2 * MOST_VALUES
"""A value may have a key, and may be a text itself. A body with more of them is not JSON."""
PATHS_PER_BYTE = 4
ROOM_FOR_PATHS = 65_536
"""All paths together may have so many characters, plus PATHS_PER_BYTE for each byte of the body. A long key is repeated
in the path of everything below it."""

HEAVY = frozenset({"too_many_values", "too_deep", "paths_too_long"})
"""The reasons for which a body is refused because reading it would cost too much. It may be correct JSON."""

Field = tuple[str, str]
"""The dotted path of a value, and its text."""

_TEXTS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(code for code in range(256) if code not in _STEPS)
_NOTHING: Any = object()


class SignedFields:
    """The fields of a body that is not yet proved authentic. The body is read at the first question, and only once.

    `without` is the path of the signature in the body, or empty. Each question raises UnusablePayload when the bytes
    are not an object, or when reading them would cost too much.
    """

    def __init__(self, body: bytes, *, without: str, body_format: str = "json") -> None:
        self._body, self._without, self._format = body, without, body_format

    @cached_property
    def payload(self) -> dict[str, Any]:
        """The object in the bytes. Numbers are as they were written."""
        if self._format == "form":
            return parse_form(self._body)
        _refuse_heavy(self._body)
        return parse_object(self._body, literal_numbers=True)

    @cached_property
    def all(self) -> list[Field]:
        """Every field but the signature, sorted."""
        return self._gathered(self.payload)

    def text(self, value_separator: str, field_separator: str) -> bytes:
        """The text that `{fields}` stands for where a scheme has no further wishes."""
        return _joined([f"{path}{value_separator}{text}" for path, text in self.all], field_separator)

    def text_of(self, scheme: SignatureScheme) -> bytes:
        """The text that `{fields}` stands for."""
        return _joined(_pieces(_escaped(self._listed(scheme), scheme), scheme), scheme.field_separator)

    def chosen(self, path: str) -> str:
        """The text of one field, such as `a.b` or `amount|digits`. It is empty where the body has none."""
        place, _, form = path.partition("|")
        value = item_at(self.payload, place)
        if isinstance(value, dict | list):
            raise UnusablePayload({"body": ["not_a_value"]})
        return FORMS[form](_text(value))

    def vouched_body(self, scheme: SignatureScheme) -> bytes:
        """The body that the signed text gives. What is not signed is as it came.

        Raises InvalidSignature when something else was delivered.
        """
        told = self._told(scheme) if scheme.signs_fields else dict(self.payload)
        for path in scheme.chosen_fields:
            told = _with_text(told, path.partition("|")[0].split("."), self.chosen(path))
        if scheme.coverage is None:
            return json.dumps(told, sort_keys=True).encode()
        return to_json(told).encode()

    def _listed(self, scheme: SignatureScheme) -> list[Field]:
        """The fields that `{fields}` is made of, in their order."""
        if scheme.fields_of or scheme.field_order == "sent":
            found = self._gathered(self._signed_object(scheme), is_sorted=scheme.field_order != "sent")
        else:
            found = self.all
        if scheme.skipped_fields:
            found = [field for field in found if field[0] not in scheme.skipped_fields]
        if scheme.empty_fields == "left-out":
            found = [field for field in found if field[1]]
        order = _ORDERS[scheme.field_order]
        return found if order is None else sorted(found, key=lambda field: order(field, scheme))

    def _gathered(self, value: Any, *, is_sorted: bool = True) -> list[Field]:
        found: list[Field] = []
        _gather(value, "", found, ROOM_FOR_PATHS + PATHS_PER_BYTE * len(self._body))
        if is_sorted:
            found.sort()
        return [field for field in found if field[0] != self._without] if self._without else found

    def _signed_object(self, scheme: SignatureScheme) -> dict[str, Any]:
        value = at(self.payload, scheme.fields_of) if scheme.fields_of else self.payload
        if not isinstance(value, dict):
            raise UnusablePayload({"body": ["not_an_object"]})
        return value

    def _told(self, scheme: SignatureScheme) -> dict[str, Any]:
        """The payload with what is signed as the signed text says it."""
        if not _reads_back(_escaped(self._listed(scheme), scheme), scheme):
            raise ambiguous()
        found = _told(self._signed_object(scheme), "", self._without, scheme)
        told: dict[str, Any] = {} if found is _NOTHING else found
        return _replaced(self.payload, scheme.fields_of.split("."), told) if scheme.fields_of else told


def _refuse_heavy(body: bytes) -> None:
    """Count brackets and commas outside strings. Where there are few even with those inside, nothing is taken apart."""
    if _opened(body) <= MOST_DEPTH and _values(body) <= MOST_VALUES:
        return
    outside, texts = _TEXTS.subn(b"", body, count=MOST_TEXTS + 1)  # in C: this is where a stranger's bytes cost most
    if texts > MOST_TEXTS:
        raise UnusablePayload({"body": ["too_many_values"]})
    if _depth(outside) > MOST_DEPTH:
        raise UnusablePayload({"body": ["too_deep"]})
    if _values(outside) > MOST_VALUES:
        raise UnusablePayload({"body": ["too_many_values"]})


def _depth(text: bytes) -> int:
    """How many brackets are open at most, of a text whose strings were taken out."""
    return max(accumulate(_STEPS[sign] for sign in text.translate(None, _NO_BRACKETS)), default=0)


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


def _joined(pieces: list[str], separator: str) -> bytes:
    return separator.join(pieces).encode(errors="surrogatepass")


ESCAPES: Mapping[str, Callable[[str], str]] = {
    "plain": str,
    "percent": partial(quote, safe="", errors="surrogatepass"),
    "form": partial(quote_plus, errors="surrogatepass"),
}
"""How a sender escapes what it signs. No two texts have one escaped text."""


def _escaped(fields: list[Field], scheme: SignatureScheme) -> list[Field]:
    if scheme.field_escape == "plain":
        return fields
    escape = ESCAPES[scheme.field_escape]
    return [(escape(path), escape(text)) for path, text in fields]


def _pieces(fields: list[Field], scheme: SignatureScheme) -> list[str]:
    if scheme.field_form == "value":
        return [text for _, text in fields]
    return [f"{path}{scheme.value_separator}{text}" for path, text in fields]


_ORDERS: Mapping[str, Callable[[Field, SignatureScheme], Any] | None] = {
    "path": None,
    "sent": None,
    "path-nocase": lambda field, _: (field[0].lower(), field[0]),
    "pair": lambda field, scheme: f"{field[0]}{scheme.value_separator}{field[1]}",
}


def _reads_back(fields: list[Field], scheme: SignatureScheme) -> bool:
    """Whether cutting the signed text gives these fields."""
    pieces, between = _pieces(fields, scheme), scheme.field_separator
    if pieces and between and between.join(pieces).split(between) != pieces:
        return False
    return (
        scheme.field_form == "value"
        or not scheme.value_separator
        or all(
            piece.partition(scheme.value_separator)[::2] == field for piece, field in zip(pieces, fields, strict=True)
        )
    )


def _digits(text: str) -> str:
    return "".join(filter(str.isdecimal, text))


def _decimals(places: int, text: str) -> str:
    """The number with so many digits behind its point. Raises UnusablePayload when it has more."""
    try:
        number = Decimal(text)
        written = f"{number:.{places}f}" if abs(number.adjusted()) < _MOST_DIGITS else text
        is_same = Decimal(written) == number
    except InvalidOperation:
        return text
    if not is_same:
        raise UnusablePayload({"body": ["not_a_value"]})
    return written


_MOST_DIGITS = 60


def item_at(payload: Any, path: str) -> Any:
    """The value at the dotted path, or None. A number in it is the place of an item in a list."""
    value = payload
    for key in path.split("."):
        if isinstance(value, list):
            value = value[int(key)] if key.isdecimal() and len(key) < 6 and int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _with_text(value: Any, path: list[str], text: str) -> Any:
    """The value with the text at the path, where there is something. An empty text leaves no trace."""
    key, *below = path
    if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        number, items = int(key), list(value)
        items[number] = _with_text(items[number], below, text) if below else text or None
        return items
    if not isinstance(value, dict) or key not in value:
        return value
    if below:
        return value | {key: _with_text(value[key], below, text)}
    return value | {key: text} if text else {known: item for known, item in value.items() if known != key}


def _replaced(value: dict[str, Any], path: list[str], told: dict[str, Any]) -> dict[str, Any]:
    key, *below = path
    return value | {key: _replaced(value[key], below, told) if below else told}


def _told(value: Any, path: str, without: str, scheme: SignatureScheme) -> Any:
    """What the signed text says about the value, or _NOTHING."""
    if without and path == without:
        return _NOTHING
    if path in scheme.skipped_fields:
        return value
    if isinstance(value, dict):
        return _told_of_object(value, path, without, scheme)
    if isinstance(value, list):
        items = [_told(item, f"{path}.{number}", without, scheme) for number, item in enumerate(value)]
        if any(item is _NOTHING for item in items):
            raise ambiguous()
        return items or _NOTHING
    return _text(value) or (_NOTHING if scheme.empty_fields == "left-out" else None)


def _told_of_object(value: dict[str, Any], path: str, without: str, scheme: SignatureScheme) -> Any:
    kept = {}
    for key, item in value.items():
        if not key or "." in key:
            raise ambiguous()
        told = _told(item, f"{path}.{key}" if path else key, without, scheme)
        if told is not _NOTHING:
            kept[key] = told
    if path and kept and kept.keys() == {str(number) for number in range(len(kept))}:
        raise ambiguous()
    return kept or _NOTHING


def ambiguous() -> InvalidSignature:
    """The refusal of a delivery whose signature another body has too."""
    return InvalidSignature("ambiguous")


FORMS: Mapping[str, Callable[[str], str]] = {
    "": str,
    "digits": _digits,
    **{f"decimals-{places}": partial(_decimals, places) for places in (2, 3)},
}
"""How a sender writes a chosen field before it signs it: `{field:amount|digits}`. The handler gets what is signed."""
