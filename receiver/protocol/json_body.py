"""Reads a body as one JSON object, strictly. A body that another reader could read in another way is refused.

Two readers that disagree about a duplicate key or a NaN would see two different events behind one signature. A byte
order mark changes no value, so it is accepted. A number with a fraction is money, so it is a `Decimal`, never a float.
"""

import json
import math
from collections.abc import Collection, Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from json.encoder import JSONEncoder, encode_basestring_ascii
from typing import Any

from receiver.protocol.errors import UnusablePayload

MOST_DEPTH = 64
MOST_EXPONENT = 400
"""Beyond the exponents that a float has, so that each float can be sent."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    **dict.fromkeys((b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), "deflate"),
}
"""How compressed bodies begin. It is looked at when a body is not UTF-8, to name the reason."""


class Number(str):
    """A number as it was written."""

    __slots__ = ()


def parse_object(body: bytes, *, literal_numbers: bool = False) -> dict[str, Any]:
    """The JSON object in the bytes. With `literal_numbers`, each number is a `Number`. Raises UnusablePayload."""
    value = parse_any(body, literal_numbers=literal_numbers)
    if not isinstance(value, dict):
        raise UnusablePayload({"body": ["not_an_object"]})
    return value


def parse_any(body: bytes, *, literal_numbers: bool = False) -> Any:
    """The JSON value in the bytes, read as strictly. Raises UnusablePayload."""
    try:
        text = body.removeprefix(_BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError:
        packed = (name for start, name in _COMPRESSED.items() if body.startswith(start))
        raise UnusablePayload({"body": [next(packed, "not_utf8")]}) from None
    try:
        value = (_LITERAL if literal_numbers else _STRICT).decode(text)
    except _Refused as error:
        raise UnusablePayload({"body": [str(error)]}) from None
    except RecursionError:
        raise UnusablePayload({"body": ["too_deep"]}) from None
    except json.JSONDecodeError:
        raise UnusablePayload({"body": ["not_json"]}) from None
    except ValueError:  # Python does not read integers of thousands of digits
        raise UnusablePayload({"body": ["number_too_long"]}) from None
    if text.count("{") + text.count("[") > MOST_DEPTH and _depth(value) > MOST_DEPTH:
        raise UnusablePayload({"body": ["too_deep"]})
    return value


def parse_value(text: str | bytes) -> Any:
    """Any JSON value, read as strictly as a body. Raises ValueError, or RecursionError where it is too deep."""
    return _STRICT.decode(text if isinstance(text, str) else text.decode())


class _Refused(ValueError):
    """JSON that Python's reader accepts, and other readers don't."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("duplicate_key")
    return found


def _not_json(_constant: str) -> Any:
    raise _Refused("not_a_finite_number")


def _exact(text: str) -> Decimal:
    """Other readers make a float of it: what is infinite for them is refused. So is an exponent that no amount has:
    such a number takes a gigabyte when somebody writes it out, and a Decimal can't hold every exponent.
    """
    if not math.isfinite(float(text)):
        raise _Refused("not_a_finite_number")
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise _Refused("number_too_long") from None
    if abs(exact.adjusted()) > MOST_EXPONENT:
        raise _Refused("number_too_long")
    return exact


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_not_json, parse_float=_exact)
_LITERAL = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_not_json, parse_int=Number, parse_float=Number)


def _depth(value: Any) -> int:
    """How deep the value is nested. It goes by levels, not by recursion: the value may be deeper than the stack."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in inner for child in (item.values() if isinstance(item, dict) else item)]
    return depth - 1


def at(payload: dict[str, Any], path: str) -> Any:
    """The value at the dotted path, or None."""
    if "." not in path:
        return payload.get(path)
    value: Any = payload
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with its dotted path. The items of a list are numbered from 0."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield path, value
        return
    for key, item in inner:
        yield from leaves(item, f"{path}.{key}" if path else str(key))


def same_value(first: Any, second: Any) -> bool:
    """Whether two values say the same. Both are read with `literal_numbers`.

    The order of keys does not matter, nor does the way in which a number is written: 1.0 equals 1. "1" and true don't.
    """
    if type(first) is not type(second):
        return False
    if isinstance(first, Number):
        return first == second or _is_same_number(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same_value(item, second[key]) for key, item in first.items())
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same_value, first, second))
    return bool(first == second)


def without_paths(payload: dict[str, Any], paths: Collection[str]) -> dict[str, Any]:
    """A copy of the payload without the values at these dotted paths. A path goes through each item of a list."""
    kept: dict[str, Any] = {}
    for key, value in payload.items():
        if key in paths:
            continue
        below = [path.removeprefix(f"{key}.") for path in paths if path.startswith(f"{key}.")]
        kept[key] = _without_below(value, below) if below else value
    return kept


def _without_below(value: Any, paths: Collection[str]) -> Any:
    if isinstance(value, list):
        return [_without_below(item, paths) for item in value]
    return without_paths(value, paths) if isinstance(value, dict) else value


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON of what `parse_object()` read, with each number to its last digit.

    A moment is written by RFC 3339, and anything else as its text.

    With `indent`, each level has lines of its own, so many spaces further in.
    """
    return _written(value, "" if indent is None else "\n", " " * (indent or 0))


_EXACT = (Number, Decimal)
_other_value = JSONEncoder(
    default=lambda value: value.isoformat() if isinstance(value, datetime) else str(value)
).encode


def _written(value: Any, line: str, step: str) -> str:
    if isinstance(value, _EXACT):
        return str(value)
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, dict):
        inner = line and line + step
        items = [f"{encode_basestring_ascii(str(key))}: {_written(item, inner, step)}" for key, item in value.items()]
        return _enclosed("{", items, "}", line, inner)
    if isinstance(value, (list, tuple)):
        inner = line and line + step
        return _enclosed("[", [_written(item, inner, step) for item in value], "]", line, inner)
    return _other_value(value)


def _enclosed(begin: str, items: list[str], end: str, line: str, inner: str) -> str:
    if not items:
        return begin + end
    separator = f",{inner}" if inner else ", "
    return f"{begin}{inner}{separator.join(items)}{line}{end}"


def _is_same_number(first: str, second: str) -> bool:
    try:
        return _normal(first) == _normal(second)
    except ValueError:  # the exponent has thousands of digits
        return False


def _normal(number: str) -> tuple[bool, str, int]:
    """A number in parts: whether it is negative, its digits without zeros at both ends, and its power of ten.

    It is exact for a number and an exponent of any size. Raises ValueError for an exponent that Python doesn't read.
    """
    mantissa, _, exponent = number.lower().partition("e")
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return False, "", 0
    power = int(exponent or 0) - len(fraction) + len(digits) - len(significant)
    return number.startswith("-"), significant, power
