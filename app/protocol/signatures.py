"""How a delivery proves where it comes from (§4). A scheme is data; one `sign()` and one `verify()` serve them all.

To add a scheme, add a `SignatureScheme` to `SCHEMES`; to bend one, override an axis by a setting. `verify()`
fails closed and raises nothing but InvalidSignature, whatever bytes come. It compares canonical signature text,
so that no second spelling of a signature passes.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from app.protocol.errors import InvalidScheme, InvalidSignature, StaleTimestamp, UnusableSecret

MOST_ENTRIES = 16
ALGORITHMS = {"sha256": hashlib.sha256, "sha512": hashlib.sha512, "sha1": hashlib.sha1}
ENCODINGS = ("hex", "base64", "base64url")
TIMESTAMP_FORMATS = {
    "seconds": r"[1-9][0-9]{0,11}",
    "milliseconds": r"[1-9][0-9]{0,14}",
    "rfc3339": r"[0-9TZ:.+-]{20,40}",
}
SECRET_ENCODINGS = ("utf-8", "hex", "base64")
_CHOICES = {
    "algorithm": tuple(ALGORITHMS),
    "encoding": ENCODINGS,
    "timestamp_format": tuple(TIMESTAMP_FORMATS),
    "secret_encoding": SECRET_ENCODINGS,
}
_PLACEHOLDERS = (
    "changeme",
    "change-me",
    "your-secret",
    "yoursecret",
    "placeholder",
    "example",
    "secret-here",
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MESSAGE_ID = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True, kw_only=True)
class SignatureScheme:
    """Every axis on which senders differ. SENANG_SIGNATURE_<AXIS> overrides one."""

    name: str
    header: str  # the header that holds the signature
    tag: str = ""  # what stands before a signature: "v1", "sha256"; empty for a bare one
    entry_separator: str = ""  # between several signatures in the header; empty when there is one
    tag_separator: str = ""  # between tag and signature
    encoding: str = "hex"  # hex, base64, base64url
    algorithm: str = "sha256"  # sha256, sha512; sha1 only for reading old senders
    content: str = "{body}"  # what is signed, over {id}, {timestamp} and {body}
    id_header: str = ""
    timestamp_header: str = ""
    timestamp_tag: str = ""  # the entry of the signature header that holds the timestamp, as Stripe's `t`
    timestamp_format: str = "seconds"  # seconds, milliseconds, rfc3339
    secret_prefix: str = ""  # taken off before the secret is decoded
    secret_encoding: str = "utf-8"  # noqa: S105 - no secret: utf-8, hex or base64
    minimum_key_bytes: int = 16


@dataclass(frozen=True)
class Verified:
    """What a right signature vouches for. `key_index` says which secret matched, 0 being the newest."""

    message_id: str | None
    timestamp: datetime | None
    key_index: int


_STANDARD = SignatureScheme(
    name="standard-webhooks",
    header="webhook-signature",
    tag="v1",
    entry_separator=" ",
    tag_separator=",",
    encoding="base64",
    content="{id}.{timestamp}.{body}",
    id_header="webhook-id",
    timestamp_header="webhook-timestamp",
    secret_prefix="whsec_",  # noqa: S106 - a prefix, no secret
    secret_encoding="base64",  # noqa: S106 - an encoding, no secret
    minimum_key_bytes=24,
)
_PLAIN = SignatureScheme(name="hmac-sha256-hex", header="X-Signature")

SCHEMES: Mapping[str, SignatureScheme] = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            _STANDARD,
            SignatureScheme(
                name="stripe",
                header="Stripe-Signature",
                tag="v1",
                entry_separator=",",
                tag_separator="=",
                content="{timestamp}.{body}",
                timestamp_tag="t",
            ),
            replace(_PLAIN, name="github", header="X-Hub-Signature-256", tag="sha256", tag_separator="="),
            replace(_PLAIN, name="shopify", header="X-Shopify-Hmac-Sha256", encoding="base64"),
            SignatureScheme(
                name="slack",
                header="X-Slack-Signature",
                tag="v0",
                tag_separator="=",
                content="v0:{timestamp}:{body}",
                timestamp_header="X-Slack-Request-Timestamp",
            ),
            replace(_PLAIN, name="razorpay", header="X-Razorpay-Signature"),
            _PLAIN,
        )
    }
)


def scheme_from(preset: str, overrides: Mapping[str, str]) -> SignatureScheme:
    """The preset with some axes overridden. Raises InvalidScheme."""
    if preset not in SCHEMES:
        raise InvalidScheme("scheme", f"is none of {', '.join(SCHEMES)}")
    known = {field.name: field.type for field in fields(SignatureScheme) if field.name != "name"}
    values: dict[str, Any] = {}
    for axis, text in overrides.items():
        if axis not in known:
            raise InvalidScheme(axis, "is no axis of a signature scheme")
        if axis == "minimum_key_bytes":
            if not text.isascii() or not text.isdigit():
                raise InvalidScheme(axis, "must be a whole number")
            values[axis] = max(1, int(text[:6]))
        else:
            values[axis] = {"none": "", "space": " "}.get(text, text)
    return _checked(replace(SCHEMES[preset], **values))


def key_bytes(scheme: SignatureScheme, secret: str) -> bytes:
    """The key that the secret's text stands for. Raises UnusableSecret, whose message never has the secret."""
    if not secret or secret.isspace():
        raise UnusableSecret("empty")
    if secret != secret.strip():
        raise UnusableSecret("surrounded_by_white_space")
    if secret.startswith("whpk_"):
        raise UnusableSecret("public_key")
    if any(word in secret.lower() for word in _PLACEHOLDERS):
        raise UnusableSecret("placeholder")
    key = _decoded(scheme.secret_encoding, secret.removeprefix(scheme.secret_prefix))
    if len(key) < scheme.minimum_key_bytes:
        raise UnusableSecret("too_short")
    if len(set(key)) < 6:
        raise UnusableSecret("placeholder")
    return key


def sign(body: bytes, *, scheme: SignatureScheme, key: bytes, message_id: str, timestamp: datetime) -> dict[str, str]:
    """The headers that a sender using this scheme adds to the body. `timestamp` is aware."""
    moment = _timestamp_text(scheme, timestamp)
    text = _signature(scheme, key, _content(scheme, message_id, moment, body))
    entry = f"{scheme.tag}{scheme.tag_separator}{text}" if scheme.tag else text
    headers = {scheme.header: entry}
    if scheme.timestamp_tag:
        stamp = f"{scheme.timestamp_tag}{scheme.tag_separator}{moment}"
        headers[scheme.header] = f"{stamp}{scheme.entry_separator}{entry}"
    if scheme.timestamp_header:
        headers[scheme.timestamp_header] = moment
    if scheme.id_header:
        headers[scheme.id_header] = message_id
    return headers


def verify(
    body: bytes,
    headers: Mapping[str, str],
    *,
    scheme: SignatureScheme,
    keys: Sequence[bytes],
    now: datetime,
    tolerance: timedelta,
) -> Verified:
    """Check that one of the keys signed this very body, and that its timestamp is near `now`.

    Raises InvalidSignature, or StaleTimestamp when all but the timestamp is right.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    try:
        entries = _entries(scheme, lowered.get(scheme.header.lower(), ""))
        message_id = _message_id(scheme, lowered)
        moment, timestamp = _timestamp(scheme, lowered, entries)
        signatures = _signatures(scheme, entries)
    except InvalidSignature:
        _matching_key(scheme, keys, body, [b""])  # the same work for every cause: the time must not tell it
        raise
    key_index = _matching_key(scheme, keys, _content(scheme, message_id, moment, body), signatures)
    if key_index is None:
        raise InvalidSignature("wrong_signature")
    if timestamp is not None and abs(now - timestamp) > tolerance:
        raise StaleTimestamp("timestamp_too_old" if timestamp < now else "timestamp_too_new")
    return Verified(message_id or None, timestamp, key_index)


def _entries(scheme: SignatureScheme, value: str) -> list[str]:
    if not value.strip():
        raise InvalidSignature("missing_signature")
    if not scheme.entry_separator:
        return [value.strip(" ")]
    if value.count(scheme.entry_separator) >= MOST_ENTRIES:
        raise InvalidSignature("too_many_signatures")
    return [entry.strip(" ") for entry in value.split(scheme.entry_separator)]


def _signatures(scheme: SignatureScheme, entries: Sequence[str]) -> list[bytes]:
    """The signature texts under our tag; foreign and malformed entries beside them do no harm."""
    prefix = f"{scheme.tag}{scheme.tag_separator}" if scheme.tag else ""
    found = [entry.removeprefix(prefix) for entry in entries if entry.startswith(prefix)]
    usable = [text.encode() for text in found if text and text.isascii()]
    if not usable:
        raise InvalidSignature("malformed_signature")
    return usable


def _matching_key(
    scheme: SignatureScheme, keys: Sequence[bytes], content: bytes, signatures: Sequence[bytes]
) -> int | None:
    """Every key is tried against every signature, so that time tells nothing about where a match was."""
    match = None
    for index, key in enumerate(keys):
        expected = _signature(scheme, key, content).encode()
        for signature in signatures:
            if hmac.compare_digest(expected, signature) and match is None:
                match = index
    return match


def _message_id(scheme: SignatureScheme, headers: Mapping[str, str]) -> str:
    if not scheme.id_header:
        return ""
    value = headers.get(scheme.id_header.lower(), "")
    if not value:
        raise InvalidSignature("missing_id")
    # With dots between the parts, an ID with a dot would let two different messages have one signature.
    if not _MESSAGE_ID.fullmatch(value) or (".{" in scheme.content and "." in value):
        raise InvalidSignature("malformed_id")
    return value


def _timestamp(
    scheme: SignatureScheme, headers: Mapping[str, str], entries: Sequence[str]
) -> tuple[str, datetime | None]:
    if not scheme.timestamp_header and not scheme.timestamp_tag:
        return "", None
    if scheme.timestamp_header:
        text = headers.get(scheme.timestamp_header.lower(), "")
    else:
        prefix = f"{scheme.timestamp_tag}{scheme.tag_separator}"
        stamps = [entry.removeprefix(prefix) for entry in entries if entry.startswith(prefix)]
        if len(stamps) > 1:
            raise InvalidSignature("malformed_timestamp")
        text = stamps[0] if stamps else ""
    if not text:
        raise InvalidSignature("missing_timestamp")
    return text, _moment(scheme, text)


def _moment(scheme: SignatureScheme, text: str) -> datetime:
    if not re.fullmatch(TIMESTAMP_FORMATS[scheme.timestamp_format], text):
        raise InvalidSignature("malformed_timestamp")
    try:
        if scheme.timestamp_format == "rfc3339":
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                raise InvalidSignature("malformed_timestamp")
            return moment.astimezone(UTC)
        unit = 1000 if scheme.timestamp_format == "milliseconds" else 1
        return datetime.fromtimestamp(int(text) / unit, UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidSignature("malformed_timestamp") from None


def _timestamp_text(scheme: SignatureScheme, timestamp: datetime) -> str:
    if scheme.timestamp_format == "rfc3339":
        return timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    unit = 1000 if scheme.timestamp_format == "milliseconds" else 1
    return str(int(timestamp.timestamp() * unit))


def _content(scheme: SignatureScheme, message_id: str, timestamp: str, body: bytes) -> bytes:
    """The signed bytes. The body is put in last: it may itself contain `{id}`."""
    before, _, after = scheme.content.partition("{body}")
    return b"".join((_filled(before, message_id, timestamp), body, _filled(after, message_id, timestamp)))


def _filled(template: str, message_id: str, timestamp: str) -> bytes:
    parts = re.split(r"(\{id\}|\{timestamp\})", template)
    return "".join({"{id}": message_id, "{timestamp}": timestamp}.get(part, part) for part in parts).encode()


def _signature(scheme: SignatureScheme, key: bytes, content: bytes) -> str:
    digest = hmac.new(key, content, ALGORITHMS[scheme.algorithm]).digest()
    if scheme.encoding == "hex":
        return digest.hex()
    if scheme.encoding == "base64url":
        return base64.urlsafe_b64encode(digest).decode()
    return base64.b64encode(digest).decode()


def _decoded(encoding: str, text: str) -> bytes:
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
        return text.encode()
    except (binascii.Error, ValueError):
        raise UnusableSecret("malformed") from None


def _checked(scheme: SignatureScheme) -> SignatureScheme:
    for axis, choices in _CHOICES.items():
        if getattr(scheme, axis) not in choices:
            raise InvalidScheme(axis, f"is none of {', '.join(choices)}")
    for axis in ("header", "id_header", "timestamp_header"):
        value = getattr(scheme, axis)
        if (value or axis == "header") and not _TOKEN.fullmatch(value):
            raise InvalidScheme(axis, "is no header name")
    if scheme.content.count("{body}") != 1:
        raise InvalidScheme("content", "must contain {body} once")
    if set(re.findall(r"\{[^}]*\}", scheme.content)) - {"{id}", "{timestamp}", "{body}"}:
        raise InvalidScheme("content", "knows {id}, {timestamp} and {body} only")
    if "{id}" in scheme.content and not scheme.id_header:
        raise InvalidScheme("id_header", "is needed, because the content has {id}")
    has_timestamp = bool(scheme.timestamp_header or scheme.timestamp_tag)
    if has_timestamp != ("{timestamp}" in scheme.content):
        raise InvalidScheme(
            "content", "must have {timestamp} if and only if a timestamp is sent: unsigned it proves nothing"
        )
    if scheme.timestamp_tag and not (scheme.entry_separator and scheme.tag_separator):
        raise InvalidScheme("timestamp_tag", "needs entry_separator and tag_separator")
    return scheme
