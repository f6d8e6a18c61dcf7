"""Reads `application/x-www-form-urlencoded` as one object, as strictly as JSON: a form has only one reading, or none.
It writes one, too, as a sender does.

`a[b]=1` and `a.b=1` are an object in an object, and `a[]=1&a[]=2` is a list. Every value is a text. A key that comes
twice is refused, and so is one that is a value and an object. To read another way of nesting, change `_names()`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes, urlencode

from receiver.protocol.errors import UnusablePayload
from receiver.protocol.json_body import MOST_DEPTH, to_json

MOST_PAIRS = 10_000
_BRACKETS = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_IN_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def parse_form(body: bytes) -> dict[str, Any]:
    """The object in the bytes of a form. Raises UnusablePayload."""
    if body.count(b"&") >= MOST_PAIRS:
        raise _unusable("too_many_values")
    found: dict[str, Any] = {}
    lists: dict[tuple[str, ...], list[str]] = {}
    for pair in body.strip(b"\r\n").split(b"&"):
        if pair:
            key, separator, value = pair.partition(b"=")
            if not separator:
                raise _unusable("not_a_form")
            _put(found, lists, _names(_text(key)), _text(value))
    if not found:
        raise _unusable("not_a_form")
    return found


def to_form(payload: Mapping[str, Any]) -> bytes:
    """The form that `parse_form()` reads as this object, with texts as values. Nothing is said of empty objects."""
    return urlencode(list(_pairs(payload, ""))).encode()


def written_as(body_format: str, payload: Mapping[str, Any]) -> bytes:
    """The body of this object, as JSON or as a form."""
    return to_form(payload) if body_format == "form" else to_json(payload).encode()


def _pairs(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _pairs(item, f"{name}[{key}]" if name else key)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _pairs(item, f"{name}[{number}]" if isinstance(item, Mapping | list) else f"{name}[]")
    else:
        yield name, "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def parse_query(query: str) -> Mapping[str, str]:
    """The parameters of an address. One that comes twice is left out, for it has no one value."""
    values: dict[str, list[str]] = {}
    for pair in query.split("&", MOST_PAIRS):
        key, _, value = pair.partition("=")
        try:
            values.setdefault(_text(key.encode()), []).append(_text(value.encode()))
        except UnusablePayload:
            continue
    return {key: found[0] for key, found in values.items() if len(found) == 1}


def _text(raw: bytes) -> str:
    if _BROKEN_ESCAPE.search(raw):
        raise _unusable("not_a_form")
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise _unusable("not_utf8") from None


def _names(key: str) -> tuple[str, ...]:
    """The keys on the way to a value. The last is empty for an item of a list."""
    found = _BRACKETS.fullmatch(key)
    if found is None:
        return (key,)
    inner = tuple(_IN_BRACKETS.findall(found[2]))
    outer = tuple(found[1].split("."))
    return (*outer, *inner) if all(outer) else (found[1], *inner)


def _put(found: dict[str, Any], lists: dict[tuple[str, ...], list[str]], names: tuple[str, ...], value: str) -> None:
    *parents, name = names
    if len(parents) >= MOST_DEPTH:
        raise _unusable("too_deep")
    if not name and parents:
        items = lists.get(tuple(parents))
        if items is not None:
            items.append(value)
            return
        items = lists[tuple(parents)] = [value]
        *parents, name = parents
        _set(found, parents, name, items)
    else:
        _set(found, parents, name, value)


def _set(found: dict[str, Any], parents: list[str], name: str, value: Any) -> None:
    place = found
    for key in parents:
        inner = place.setdefault(key, {})
        if not isinstance(inner, dict):
            raise _unusable("duplicate_key")
        place = inner
    if name in place:
        raise _unusable("duplicate_key")
    place[name] = value


def _unusable(reason: str) -> UnusablePayload:
    return UnusablePayload({"body": [reason]})
