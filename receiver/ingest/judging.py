"""Second step at the door: judge what a delivery is. It is pure: it asks neither the clock nor the database.

To tell another case apart: one more type of judgement here, and its line in the `match` of keeping.py.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from receiver.config import Settings
from receiver.protocol.envelope import Event
from receiver.protocol.errors import InvalidSignature, StaleTimestamp, UnusablePayload
from receiver.protocol.signatures import Verified, verify


class New(NamedTuple):
    """An authentic event. Only the database can say whether its ID is known already."""

    body: bytes
    event: Event

    def __repr__(self) -> str:
        """Without the body, which is clear text."""
        return f"New({len(self.body)} bytes)"


class Unusable(NamedTuple):
    """Authentic, but it can't be read as an event."""

    body: bytes
    error: UnusablePayload

    def __repr__(self) -> str:
        """Without the body, which is clear text."""
        return f"Unusable({len(self.body)} bytes)"


class Stale(NamedTuple):
    """Authentic, but its timestamp is outside the tolerance."""

    body: bytes
    content: Event | UnusablePayload
    reason: str

    def __repr__(self) -> str:
        """Without the body, which is clear text."""
        return f"Stale({len(self.body)} bytes, {self.reason})"


class Forged(NamedTuple):
    """Not provably from Senang.io."""

    reason: str


Judgement = New | Unusable | Stale | Forged


def judge(settings: Settings, body: bytes, headers: Mapping[str, str], now: datetime) -> Judgement:
    """What this body is, with these headers of the signature scheme, at this moment."""
    try:
        verified = _verified(settings, body, headers, now)
    except StaleTimestamp as stale:
        return Stale(stale.body, _content(settings, stale.body), stale.reason)
    except InvalidSignature as error:
        return Forged(error.reason)
    content = _content(settings, verified.body)
    if isinstance(content, UnusablePayload):
        return Unusable(verified.body, content)
    return New(verified.body, content)


def _verified(settings: Settings, body: bytes, headers: Mapping[str, str], now: datetime) -> Verified:
    return verify(
        body,
        headers,
        scheme=settings.scheme,
        keys=settings.signature_keys,
        now=now,
        tolerance=settings.timestamp_tolerance,
    )


def _content(settings: Settings, body: bytes) -> Event | UnusablePayload:
    try:
        return settings.read_event(body)
    except UnusablePayload as error:
        return error
