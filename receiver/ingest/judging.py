"""Second step at the door: judge what a delivery is. It is pure: it asks neither the clock nor the database.

To tell another case apart: one more type of judgement here, and its line in the `match` of keeping.py. Each has a
`secret`: which of the secrets signed it, 0 is the newest.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from receiver.config import Settings
from receiver.protocol.envelope import Event
from receiver.protocol.errors import InvalidSignature, StaleTimestamp, UnusablePayload
from receiver.protocol.kept import Kept
from receiver.protocol.places import Beside, Places
from receiver.protocol.signatures import Verified, verify


class New(NamedTuple):
    """An authentic event. Only the database can say whether its ID is known already."""

    kept: Kept
    event: Event
    secret: int = 0

    def __repr__(self) -> str:
        """Without the body, which is clear text."""
        return f"New({self.kept})"


class Unusable(NamedTuple):
    """Authentic, but it can't be read as an event."""

    kept: Kept
    error: UnusablePayload
    secret: int = 0

    def __repr__(self) -> str:
        """Without the body, which is clear text."""
        return f"Unusable({self.kept})"


class Stale(NamedTuple):
    """Authentic, but its timestamp is outside the tolerance."""

    kept: Kept
    content: Event | UnusablePayload
    reason: str
    secret: int = 0

    def __repr__(self) -> str:
        """Without the body, which is clear text."""
        return f"Stale({self.kept}, {self.reason})"


class Several(NamedTuple):
    """A delivery of several events: all of them are kept, or none."""

    items: tuple[New | Unusable | Stale, ...]

    @property
    def secret(self) -> int:
        """The same for all of them."""
        return self.items[0].secret


class Forged(NamedTuple):
    """Not provably from Senang.io."""

    reason: str

    @property
    def secret(self) -> None:
        """None of ours."""
        return


Judgement = New | Unusable | Stale | Several | Forged


def judge(settings: Settings, body: bytes, headers: Mapping[str, str], now: datetime) -> Judgement:
    """What this body is, with these headers of the request, at this moment."""
    try:
        verified = _verified(settings, body, headers, now)
    except StaleTimestamp as stale:
        return _read(settings, stale.body, settings.beside(headers, now), stale.key_index, stale.reason)
    except InvalidSignature as error:
        return Forged(error.reason)
    return _read(settings, verified.body, settings.beside(headers, now), verified.key_index, None)


def _verified(settings: Settings, body: bytes, headers: Mapping[str, str], now: datetime) -> Verified:
    return verify(
        body,
        headers,
        scheme=settings.scheme,
        keys=settings.signature_keys,
        now=now,
        tolerance=settings.timestamp_tolerance,
    )


def _read(settings: Settings, body: bytes, beside: Beside, secret: int, stale: str | None) -> Judgement:
    """What an authentic body is. `stale` is the reason, where its timestamp is outside the tolerance."""
    try:
        found = settings.documents(body, beside)
    except UnusablePayload as error:
        raw = Kept(body, beside, settings.scheme.coverage)
        return Stale(raw, error, stale, secret) if stale else Unusable(raw, error, secret)
    if len(found) == 1:
        return _item(settings, found[0], secret, stale)
    return Several(tuple(_item(settings, kept, secret, stale) for kept in found))


def _item(settings: Settings, kept: Kept, secret: int, stale: str | None) -> New | Unusable | Stale:
    content = _content(settings, kept)
    if isinstance(content, Event) and kept.beside.headers and not _needs_beside(settings, content):
        kept = Kept(kept.body, coverage=kept.coverage)
    if stale:
        return Stale(kept, content, stale, secret)
    return Unusable(kept, content, secret) if isinstance(content, UnusablePayload) else New(kept, content, secret)


def _content(settings: Settings, kept: Kept) -> Event | UnusablePayload:
    try:
        return settings.read_kept(kept)
    except UnusablePayload as error:
        return error


def _needs_beside(settings: Settings, event: Event) -> bool:
    """Whether it takes more than the body to read the event again."""
    fields = settings.payload_fields
    return isinstance(fields, Places) and fields.needs_beside(event.payload)
