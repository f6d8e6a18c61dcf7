"""What a signature scheme is: data, with an axis for everything in which senders differ (§4). Also presets and keys.

To add a scheme, add a `SignatureScheme` to `SCHEMES`. To change one, override an axis by a setting. signatures.py signs
and verifies, with the same code for all schemes.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from receiver.protocol.errors import InvalidScheme, UnusableSecret
from receiver.protocol.placeholders import is_unfilled

ALGORITHMS = ("sha256", "sha512", "sha1")
ENCODINGS = ("hex", "hex-upper", "base64", "base64-unpadded", "base64url", "base64url-unpadded")
TIMESTAMP_FORMATS = {
    "seconds": r"[1-9][0-9]{0,11}",
    "milliseconds": r"[1-9][0-9]{0,14}",
    "rfc3339": r"[0-9T:.-]{15,34}(?:Z|[+-][0-9]{2}:?[0-9]{2})",  # ends with its offset, whatever follows
}
PLACEHOLDERS = frozenset({"{id}", "{timestamp}", "{body}", "{fields}", "{url}"})
SECRET_ENCODINGS = ("utf-8", "hex", "base64")
_CHOICES = {
    "algorithm": ALGORITHMS,
    "encoding": ENCODINGS,
    "timestamp_format": tuple(TIMESTAMP_FORMATS),
    "secret_encoding": SECRET_ENCODINGS,
}
ALIASES = {"none": "", "space": " ", "newline": "\n"}
"""How a setting writes what an environment variable can't hold."""

_PARTS = re.compile(r"(\{[a-z]+\})")
_IN_NAMES = re.compile(r"[A-Za-z0-9_.-]+")
_GLUED = [
    pair
    for part, neighbours in (("{body}", ["{id}"]), ("{fields}", ["{id}", "{timestamp}"]))
    for neighbour in neighbours
    for pair in ((part, neighbour), (neighbour, part))
]
"""What may not stand side by side. A timestamp beside `{body}` may: JSON begins with a brace, not a digit."""
_FORGEABLE = "Two bodies can have one signature. Ask Senang.io for a signature over {body}."
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, kw_only=True)
class SignatureScheme:
    """Everything in which senders differ, one axis each. SENANG_SIGNATURE_<AXIS> overrides an axis.

    `{fields}` is every value of the JSON body but the signature, sorted by its dotted path. It is weaker than
    `{body}`: see fields.py and `weakness()`.
    """

    name: str
    header: str = ""  # the header that holds the signature
    body_field: str = ""  # or the body's field that holds it, as a dotted path
    tag: str = ""  # what stands before a signature: "v1", "sha256"; empty for a bare one
    entry_separator: str = ""  # between several signatures in the header; empty when there is one
    tag_separator: str = ""  # between tag and signature
    encoding: str = "hex"  # one of ENCODINGS
    algorithm: str = "sha256"  # sha256, sha512; sha1 only for reading old senders
    content: str = "{body}"  # what is signed, over {body} or {fields}, {id}, {timestamp} and {url}
    value_separator: str = ""  # in {fields}, between a field's path and its value
    field_separator: str = "|"  # in {fields}, between one field and the next
    url: str = ""  # what stands for {url}: our public address, exactly as the sender knows it
    id_header: str = ""
    timestamp_header: str = ""
    timestamp_tag: str = ""  # the entry of the signature header that holds the timestamp, as Stripe's `t`
    timestamp_format: str = "seconds"  # seconds, milliseconds, rfc3339
    secret_prefix: str = ""  # taken off before the secret is decoded
    secret_encoding: str = "utf-8"  # noqa: S105 - no secret: utf-8, hex or base64
    minimum_key_bytes: int = 16

    @cached_property
    def headers(self) -> tuple[str, ...]:
        """The headers that a signature needs, in lower case."""
        return tuple(name.lower() for name in (self.header, self.id_header, self.timestamp_header) if name)

    @cached_property
    def content_parts(self) -> tuple[str, ...]:
        """The template of what is signed: placeholders, and the texts between them."""
        return tuple(_PARTS.split(self.content))

    @cached_property
    def signs_fields(self) -> bool:
        """Whether the body must be parsed to know what is signed."""
        return "{fields}" in self.content

    @cached_property
    def id_joins(self) -> tuple[str, ...]:
        """The texts between `{id}` and the other parts of the template."""
        _leading, *parts, _trailing = self.content_parts
        parts = ["", *parts, ""]
        place = parts.index("{id}")
        return tuple(part for part in (parts[place - 1], parts[place + 1]) if part)


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
            values[axis] = ALIASES.get(text, text)
    return check(replace(SCHEMES[preset], **values))


def weakness(scheme: SignatureScheme) -> InvalidScheme | None:
    """Why two bodies can have one signature under this scheme, with the axis to change. None if they can't.

    The message never quotes the value of a setting.
    """
    if scheme.signs_fields:
        for axis, between in (("value_separator", "a field's name and its value"), ("field_separator", "two fields")):
            separator = getattr(scheme, axis)
            if not separator:
                return InvalidScheme(axis, f"is empty, so nothing shows where to part {between}. {_FORGEABLE}")
            if _IN_NAMES.fullmatch(separator):
                return InvalidScheme(axis, f"can be a part of names and numbers. {_FORGEABLE}")
        if scheme.field_separator in scheme.value_separator:
            return InvalidScheme("value_separator", f"holds the field separator. {_FORGEABLE}")
    if any(one + other in scheme.content for one, other in _GLUED):
        return InvalidScheme("content", f"has nothing between the body's part and its neighbour. {_FORGEABLE}")
    return None


def key_bytes(scheme: SignatureScheme, secret: str) -> bytes:
    """The key that the secret's text stands for. Raises UnusableSecret, whose message never quotes the secret."""
    if not secret or secret.isspace():
        raise UnusableSecret("empty")
    if secret != secret.strip():
        raise UnusableSecret("surrounded_by_white_space")
    if secret.startswith("whpk_"):
        raise UnusableSecret("public_key")
    if is_unfilled(secret):
        raise UnusableSecret("placeholder")
    key = decode_secret(scheme.secret_encoding, secret.removeprefix(scheme.secret_prefix))
    if len(key) < scheme.minimum_key_bytes:
        raise UnusableSecret("too_short")
    if len(set(key)) < 6:
        raise UnusableSecret("placeholder")
    return key


def decode_secret(encoding: str, text: str) -> bytes:
    """The bytes that a secret's text stands for. Raises UnusableSecret."""
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
        return text.encode()
    except (binascii.Error, ValueError):
        raise UnusableSecret("malformed") from None


def check(scheme: SignatureScheme) -> SignatureScheme:
    """The scheme itself, if its axes make sense together. Raises InvalidScheme."""
    for axis, choices in _CHOICES.items():
        if getattr(scheme, axis) not in choices:
            raise InvalidScheme(axis, f"is none of {', '.join(choices)}")
    if bool(scheme.header) == bool(scheme.body_field):
        raise InvalidScheme("header", "or body_field must say where the signature is, and only one of them")
    for axis in ("header", "id_header", "timestamp_header"):
        if getattr(scheme, axis) and not _TOKEN.fullmatch(getattr(scheme, axis)):
            raise InvalidScheme(axis, "is no header name")
    if scheme.content.count("{body}") + scheme.content.count("{fields}") != 1:
        raise InvalidScheme("content", "must contain {body} or {fields}, once")
    if set(re.findall(r"\{[^}]*\}", scheme.content)) - PLACEHOLDERS:
        raise InvalidScheme("content", f"knows {', '.join(sorted(PLACEHOLDERS))} only")
    if scheme.body_field and "{body}" in scheme.content:
        raise InvalidScheme("content", "can't have {body} when the signature is in the body: use {fields}")
    if ("{url}" in scheme.content) != bool(scheme.url):
        raise InvalidScheme("url", "is needed if and only if the content has {url}")
    if ("{id}" in scheme.content) != bool(scheme.id_header):
        raise InvalidScheme("id_header", "is needed if and only if the content has {id}: unsigned it proves nothing")
    has_timestamp = bool(scheme.timestamp_header or scheme.timestamp_tag)
    if has_timestamp != ("{timestamp}" in scheme.content):
        raise InvalidScheme(
            "content", "must have {timestamp} if and only if a timestamp is sent: unsigned it proves nothing"
        )
    if scheme.timestamp_tag and not (scheme.entry_separator and scheme.tag_separator):
        raise InvalidScheme("timestamp_tag", "needs entry_separator and tag_separator")
    return scheme
