"""Finds the scheme under which the signature of a captured delivery is right, by trying all combinations.

A find counts only if our own `verify()` accepts the original delivery with it, and refuses the delivery with one byte
changed. Likely forms are tried first. Among equal finds, the one that needs the fewest settings wins.
"""

import hmac
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from receiver.protocol.captured import Captured
from receiver.protocol.errors import InvalidScheme, InvalidSignature, UnusableSecret
from receiver.protocol.schemes import ALIASES, SCHEMES, SignatureScheme, check, decode_secret
from receiver.protocol.signatures import Verified, verify
from receiver.sandbox.doctor.space import (
    Key,
    Payload,
    Place,
    Stamp,
    addresses,
    keys,
    message_ids,
    payloads,
    places,
    stamps,
    templates,
)

EXTRAS = ((), ("stamp",), ("id", "stamp"), ("id",), ("url",), ("stamp", "url"), ("id", "url"), ("id", "stamp", "url"))
"""The parts that may be signed beside the body."""
SIMPLE = EXTRAS[:4]
GENERAL = ("standard-webhooks", "hmac-sha256-hex")
"""The presets to start from. The preset of another sender is named only when it fits exactly, or nearly."""


_FOREVER = timedelta(days=36500)
_NO_STAMP = Stamp("", "", "seconds", "")


@dataclass(frozen=True, repr=False)
class Find:
    """A scheme under which the delivery is authentic."""

    scheme: SignatureScheme
    secret_index: int
    key: bytes
    digest: bytes
    timestamp: datetime | None


@dataclass
class Search:
    """What was found, and how many combinations were tried."""

    find: Find | None = None
    tried: int = 0
    complete: bool = True


@dataclass(frozen=True, repr=False)
class _Attempt:
    """One combination whose digest is to be compared."""

    place: Place
    payload: Payload
    template: str
    stamp: Stamp
    message_id: tuple[str, str]
    address: str


def search(captured: Captured, secrets: Sequence[str], *, until: float = math.inf, simple: bool = False) -> Search:
    """Try every scheme with every secret. With `simple`, try only schemes over the body's bytes, timestamp and ID.

    Gives up when the monotonic clock says `until`. Secrets that `live` would refuse are tried too.
    """
    result = Search()
    usable = [(index, key) for index, secret in enumerate(secrets) for key in keys(secret)]
    for attempt, content in _attempts(captured, simple=simple):
        for index, key in usable:
            result.tried += 1
            if hmac.digest(key.key, content, attempt.place.algorithm) == attempt.place.digest:
                result.find = _confirmed(captured, attempt, key, index, secrets[index])
                if result.find:
                    return result
        if time.monotonic() > until:
            result.complete = False
            return result
    return result


def settings_for(captured: Captured, find: Find, secret: str) -> dict[str, str]:
    """The SENANG_SIGNATURE_* settings of this scheme: the preset that needs the fewest overrides, and the overrides."""
    axes = [axis.name for axis in fields(SignatureScheme) if axis.name not in ("name", "minimum_key_bytes")]
    needed: dict[str, dict[str, str]] = {}
    for name, preset in SCHEMES.items():
        values = {axis: str(getattr(find.scheme, axis)) for axis in axes}
        for axis in axes:  # what the preset says already is left out
            fewer = {known: value for known, value in values.items() if known != axis}
            if _verified(captured, replace(preset, **fewer), secret):  # type: ignore[arg-type]  # every axis but one is text
                values = fewer
        needed[name] = values
    nearest = min(needed, key=lambda name: len(needed[name]) + (2 if needed[name] and name not in GENERAL else 0))
    spelled = {text: alias for alias, text in ALIASES.items()}
    overrides = {axis: spelled.get(value, value) for axis, value in needed[nearest].items()}
    if len(find.key) < SCHEMES[nearest].minimum_key_bytes:
        overrides["minimum_key_bytes"] = str(len(find.key))
    return {"SENANG_SIGNATURE_SCHEME": nearest} | {
        f"SENANG_SIGNATURE_{axis.upper()}": value for axis, value in overrides.items()
    }


def _attempts(captured: Captured, *, simple: bool) -> Iterator[tuple[_Attempt, bytes]]:
    """The body alone first, then with more parts: simple schemes are more likely.

    Each combination is made when the caller asks for it, so the caller can look at the time in between.
    """
    found = places(captured)
    for extra in SIMPLE if simple else EXTRAS:
        for place in found:
            yield from _with_parts(captured, place, extra, simple=simple)


def _with_parts(
    captured: Captured, place: Place, extra: tuple[str, ...], *, simple: bool
) -> Iterator[tuple[_Attempt, bytes]]:
    some_stamps = stamps(captured, place) if "stamp" in extra else [_NO_STAMP]
    some_ids = message_ids(captured, place) if "id" in extra else [("", "")]
    some_addresses = addresses(captured) if "url" in extra else [""]
    if not (some_stamps and some_ids and some_addresses):
        return
    names = {"stamp": "{timestamp}", "id": "{id}", "url": "{url}"}
    for form in islice(payloads(captured.body, place), 1 if simple else None):
        if form.placeholder == "{fields}" and len(extra) > 1:
            return  # all that follow are too long too
        for template in templates((*(names[part] for part in extra), form.placeholder), place.tag):
            before, _, after = template.partition(form.placeholder)
            for stamp in some_stamps:
                for message_id in some_ids:
                    for address in some_addresses:
                        attempt = _Attempt(place, form, template, stamp, message_id, address)
                        values = {"{timestamp}": stamp.text, "{id}": message_id[1], "{url}": address}
                        yield attempt, _filled(before, values) + form.content + _filled(after, values)


def _filled(template: str, values: Mapping[str, str]) -> bytes:
    for placeholder, value in values.items():
        template = template.replace(placeholder, value)
    return template.encode()


def _confirmed(captured: Captured, attempt: _Attempt, key: Key, secret_index: int, secret: str) -> Find | None:
    """The find, if `verify()` confirms it: it checks more than the digest."""
    scheme = _scheme(attempt, key)
    verified = _verified(captured, scheme, secret)
    if verified is None or _verified(replace(captured, body=_changed(captured.body)), scheme, secret):
        return None
    return Find(scheme, secret_index, key.key, attempt.place.digest, verified.timestamp)


def _verified(captured: Captured, scheme: SignatureScheme, secret: str) -> Verified | None:
    """What `verify()` says about the delivery. Its age is ignored."""
    now = datetime.now(UTC)
    try:
        key = decode_secret(scheme.secret_encoding, secret.removeprefix(scheme.secret_prefix))
        headers = dict(captured.headers)
        return verify(captured.body, headers, scheme=check(scheme), keys=[key], now=now, tolerance=_FOREVER)
    except (InvalidSignature, InvalidScheme, UnusableSecret):
        return None


def _changed(body: bytes) -> bytes:
    """The body with one byte in the middle changed. No signature over it may still be right."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :] if body else b"x"


def _scheme(attempt: _Attempt, key: Key) -> SignatureScheme:
    place, stamp = attempt.place, attempt.stamp
    return SignatureScheme(
        name="found",
        header=place.header,
        body_field=place.body_field,
        tag=place.tag,
        entry_separator=place.entry_separator,
        tag_separator=place.tag_separator,
        encoding=place.encoding,
        algorithm=place.algorithm,
        content=attempt.template,
        value_separator=attempt.payload.value_separator,
        field_separator=attempt.payload.field_separator,
        url=attempt.address,
        id_header=attempt.message_id[0],
        timestamp_header=stamp.header,
        timestamp_tag=stamp.tag,
        timestamp_format=stamp.form,
        secret_prefix=key.prefix,
        secret_encoding=key.encoding,
    )
