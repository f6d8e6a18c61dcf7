"""From the bytes that a signature vouches for to the documents in them: one JSON object for each event.

A body is unpacked (gzip), read in its format (JSON or a form), and split where it is a list of events. All of it is
done after verification, and bounded. To read another format: a line in `_FORMATS`. A JSON object stays as it came. What
is read out of a form, a list or a text is written as JSON, with each number as it came.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

from receiver.protocol.errors import UnusablePayload
from receiver.protocol.fields import item_at
from receiver.protocol.forms import parse_form
from receiver.protocol.json_body import parse_any, to_json

GZIP = b"\x1f\x8b"
MOST_EVENTS = 500
_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"


def documents(body: bytes, *, body_format: str, events: str, most_bytes: int, is_packed: bool) -> list[bytes]:
    """The JSON objects of the events in a body, in their order. `events` is the path of the list, or empty.

    `is_packed` says whether gzip is unpacked: only where the signature is over the packed bytes.
    Raises UnusablePayload when the body can't be read, or has no events.
    """
    if is_packed and body.startswith(GZIP):
        body = unpacked(body, most_bytes)
    if body_format == "json" and not events and body.lstrip(_BEFORE_JSON)[:1] != b"[":
        return [body]
    value = _FORMATS[body_format](body)
    if events:
        value = item_at(value, events)
        if isinstance(value, str):
            value = parse_any(value.encode(), literal_numbers=True)
    if not isinstance(value, list):
        if not isinstance(value, dict):
            raise UnusablePayload({"body": ["no_events"]})
        return [_written(value)]
    if not value:
        raise UnusablePayload({"body": ["no_events"]})
    if len(value) > MOST_EVENTS:
        raise UnusablePayload({"body": ["too_many_events"]})
    return [_written(item) for item in value]


def unpacked(body: bytes, most_bytes: int) -> bytes:
    """The bytes that were compressed by gzip. Raises UnusablePayload when they are more than `most_bytes`."""
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        found = unpacking.decompress(body, most_bytes + 1)
    except zlib.error:
        raise UnusablePayload({"body": ["gzip"]}) from None
    if len(found) > most_bytes:
        raise UnusablePayload({"body": ["too_large"]})
    if not unpacking.eof or unpacking.unused_data:
        raise UnusablePayload({"body": ["gzip"]})
    return found


def _json(body: bytes) -> Any:
    return parse_any(body, literal_numbers=True)


_FORMATS: Mapping[str, Callable[[bytes], Any]] = {"json": _json, "form": parse_form}


def _written(value: Any) -> bytes:
    return to_json(value).encode()
