"""What is sealed of a delivery: the body, and before it what a replay needs to read it as it was read first.

A body that came alone is kept as it is. Else a short prelude stands before it: the headers that fields come from, the
moment of arrival, and which paths are signed. No JSON begins with the prelude's first byte. A body that does so itself
gets a prelude, so that nobody can send one. To keep one more thing: a field of `Kept`, with its line in both functions.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from receiver.protocol.places import Beside
from receiver.protocol.schemes import Coverage

_MARK = b"\x00"
_END = b"\n"


class Kept(NamedTuple):
    """A body, what stood beside it, and what of it is signed (None: all)."""

    body: bytes
    beside: Beside = Beside()
    coverage: Coverage | None = None

    def __repr__(self) -> str:
        """Without the body, which is clear text."""
        return f"Kept({len(self.body)} bytes)"


def pack(kept: Kept) -> bytes:
    """The bytes to seal."""
    came_alone = not kept.beside.headers and kept.beside.received_at is None and kept.coverage is None
    if came_alone and not kept.body.startswith(_MARK):
        return kept.body
    about: dict[str, Any] = {}
    if kept.beside.headers:
        about["headers"] = dict(kept.beside.headers)
    if kept.beside.received_at is not None:
        about["received_at"] = kept.beside.received_at.isoformat()
    if kept.coverage is not None:
        about["signed"], about["unsigned"] = kept.coverage
    return _MARK + json.dumps(about).encode() + _END + kept.body


def unpack(sealed: bytes) -> Kept:
    """What `pack()` packed."""
    if not sealed.startswith(_MARK):
        return Kept(sealed)
    head, _, body = sealed[1:].partition(_END)
    about: Mapping[str, Any] = json.loads(head)
    moment = about.get("received_at")
    beside = Beside(about.get("headers", {}), datetime.fromisoformat(moment) if moment else None)
    signed = about.get("signed")
    return Kept(body, beside, None if signed is None else Coverage(tuple(signed), tuple(about.get("unsigned", ()))))
