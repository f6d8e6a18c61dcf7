"""Reads a body as one JSON object, strictly: what another reader could read otherwise is refused.

Two readers that disagree about a duplicate key or a NaN would see two different events behind one signature.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

from app.protocol.errors import UnusablePayload

MOST_DEPTH = 64


def parse_object(body: bytes, *, literal_numbers: bool = False) -> dict[str, Any]:
    """The JSON object that the bytes are; with `literal_numbers`, a number is its own text. Raises UnusablePayload."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise UnusablePayload({"body": ["not_utf8"]}) from None
    try:
        value = (_LITERAL if literal_numbers else _STRICT).decode(text)
    except _Refused as error:
        raise UnusablePayload({"body": [str(error)]}) from None
    except RecursionError:
        raise UnusablePayload({"body": ["too_deep"]}) from None
    except ValueError:
        raise UnusablePayload({"body": ["not_json"]}) from None
    if not isinstance(value, dict):
        raise UnusablePayload({"body": ["not_an_object"]})
    if text.count("{") + text.count("[") > MOST_DEPTH and _depth(value) > MOST_DEPTH:
        raise UnusablePayload({"body": ["too_deep"]})
    return value


class _Refused(Exception):
    """JSON that Python's reader would take and another would not."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("duplicate_key")
    return found


def _not_json(_constant: str) -> Any:
    raise _Refused("not_a_finite_number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Refused("not_a_finite_number")
    return number


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_not_json, parse_float=_finite)
_LITERAL = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_not_json, parse_int=str, parse_float=str)


def _depth(value: Any) -> int:
    """How deep the value is nested, by levels and not by recursion: the value may be deeper than the stack."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in inner for child in (item.values() if isinstance(item, dict) else item)]
    return depth - 1


def at(payload: dict[str, Any], path: str) -> Any:
    """What stands at the dotted path, or None."""
    if "." not in path:
        return payload.get(path)
    value: Any = payload
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with its dotted path; the items of a list are numbered from 0."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield path, value
        return
    for key, item in inner:
        yield from leaves(item, f"{path}.{key}" if path else str(key))
