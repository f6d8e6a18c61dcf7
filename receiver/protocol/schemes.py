"""What a signature scheme is: data, with an axis for everything in which senders differ (§4). Also presets and keys.

To add a scheme, add a `SignatureScheme` to `SCHEMES`. To change one, override an axis by a setting. signatures.py signs
and verifies, with the same code for all schemes. proofs.py has the algorithms, content.py has the parts of what is
signed, and weaknesses.py says what a scheme leaves open.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

from receiver.protocol.errors import InvalidScheme, UnusableSecret
from receiver.protocol.placeholders import is_unfilled
from receiver.protocol.proofs import public_key_bytes

HMACS = ("sha256", "sha384", "sha512", "sha1")
PLAIN_HASHES = ("hash-sha256", "hash-sha384", "hash-sha512", "hash-sha1")
PUBLIC_KEYS = ("ed25519", "rsa-sha256", "rsa-sha512", "rsa-pss-sha256", "ecdsa-p256-sha256")
JWTS = ("jwt-hs256", "jwt-rs256")
TOKEN = "token"  # noqa: S105 - the name of an algorithm
ALGORITHMS = (*HMACS, *PLAIN_HASHES, *PUBLIC_KEYS, *JWTS, TOKEN)
ENCODINGS = ("hex", "hex-upper", "base64", "base64-unpadded", "base64url", "base64url-unpadded")
PLAIN = "plain"
"""The encoding of a token that is sent as it is, and of a JWT, which has its own."""
TIMESTAMP_FORMATS = {
    "seconds": r"[1-9][0-9]{0,11}",
    "milliseconds": r"[1-9][0-9]{0,14}",
    "rfc3339": r"[0-9T:.-]{15,34}(?:Z|[+-][0-9]{2}:?[0-9]{2})",  # ends with its offset, whatever follows
}
DIGESTS = ("sha256", "sha384", "sha512", "sha1")
BODY_DIGESTS = tuple(f"body_{name}{form}" for name in DIGESTS for form in ("", "_base64"))
BODY_PARTS = ("body", *BODY_DIGESTS)
NAMED_PARTS = ("field", "header", "query")
"""Placeholders with an argument, such as `{header:X-Id}`."""
PARTS = (*BODY_PARTS, "fields", *NAMED_PARTS, "id", "timestamp", "url", "method", "path", "secret", "claims")
PLACEHOLDERS = frozenset(f"{{{name}}}" for name in PARTS if name not in NAMED_PARTS)
SECRET_ENCODINGS = ("utf-8", "hex", "base64", "sha256", "sha256-hex", "sha512", "sha512-hex")
FIELD_TEXTS = ("", "digits", "decimals-2", "decimals-3")
"""How a field is written before it is signed: behind a `|`, as in `{field:amount|digits}`."""
FIELD_ORDERS = ("path", "path-nocase", "pair", "sent")
FIELD_FORMS = ("pair", "value")
FIELD_ESCAPES = ("plain", "percent", "form")
"""How names and values are escaped before they are signed: not at all, as in an address, or as in a form."""
BODY_FORMATS = ("json", "form")
_CHOICES = {
    "algorithm": ALGORITHMS,
    "encoding": (*ENCODINGS, PLAIN),
    "timestamp_format": tuple(TIMESTAMP_FORMATS),
    "secret_encoding": SECRET_ENCODINGS,
    "field_order": FIELD_ORDERS,
    "field_form": FIELD_FORMS,
    "field_escape": FIELD_ESCAPES,
    "empty_fields": ("kept", "left-out"),
    "body_format": BODY_FORMATS,
}
ALIASES = {"none": "", "space": " ", "newline": "\n"}
"""How a setting writes what an environment variable can't hold."""
QUERY, PATH = ":query", ":path"
"""Under these names, which no header can have, `verify()` gets the query and the path of the request's address."""

_PARTS = re.compile(r"(\{[a-z0-9_]+(?::[^{}]+)?\})")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Coverage(NamedTuple):
    """What of a body is signed: all below the dotted paths, where an empty one is the whole body, but `without`."""

    paths: tuple[str, ...]
    without: tuple[str, ...] = ()

    def covers(self, path: str) -> bool:
        """Whether the value at the dotted path is signed, with all below it."""
        return any(_is_below(path, signed) for signed in self.paths) and not any(
            _is_below(path, left_out) or _is_below(left_out, path) for left_out in self.without
        )


def _is_below(path: str, above: str) -> bool:
    return not above or path == above or path.startswith(f"{above}.")


Part = tuple[str, str]
"""A part of what is signed: the name of its placeholder and the argument. A literal text has the name ""."""


@dataclass(frozen=True, kw_only=True)
class SignatureScheme:
    """Everything in which senders differ, one axis each. SENANG_SIGNATURE_<AXIS> overrides an axis.

    `{fields}` is every value of the body but the signature, sorted by its dotted path. It is weaker than `{body}`: see
    fields.py and weaknesses.py.
    """

    name: str
    header: str = ""  # the header that holds the signature
    body_field: str = ""  # or the body's field that holds it, as a dotted path
    query: str = ""  # or the query parameter that holds it
    tag: str = ""  # what stands before a signature: "v1", "sha256", "Bearer"; empty for a bare one
    entry_separator: str = ""  # between several signatures in the header; empty when there is one
    tag_separator: str = ""  # between tag and signature
    encoding: str = "hex"  # one of ENCODINGS, or plain for a token
    algorithm: str = "sha256"  # one of ALGORITHMS: HMAC, public key, JWT, plain hash or token
    content: str = "{body}"  # what is signed: texts and PLACEHOLDERS
    field_order: str = "path"  # in {fields}: sorted by path, path-nocase or pair (the whole text), or as sent
    field_form: str = "pair"  # in {fields}: a field's path and its value, or its value alone
    field_escape: str = "plain"  # in {fields} and {field:…}: one of FIELD_ESCAPES, so that a value holds no separator
    value_separator: str = ""  # in {fields}, between a field's path and its value
    field_separator: str = "|"  # in {fields}, between one field and the next
    fields_of: str = ""  # {fields} are those of the object at this path alone
    fields_without: str = ""  # {fields} are without these paths, separated by commas
    empty_fields: str = "kept"  # in {fields}, fields without a value: kept or left-out
    url: str = ""  # what stands for {url}: our public address, exactly as the sender knows it
    id_header: str = ""
    timestamp_header: str = ""
    timestamp_tag: str = ""  # the entry of the header that holds the timestamp, as Stripe's `t`; a JWT's claim
    timestamp_field: str = ""  # the field of the body that holds the timestamp, as a dotted path
    timestamp_format: str = "seconds"  # seconds, milliseconds, rfc3339
    claim: str = ""  # the claim of a JWT that must be what `content` says
    secret_prefix: str = ""  # taken off before the secret is decoded
    secret_encoding: str = "utf-8"  # noqa: S105 - no secret: one of SECRET_ENCODINGS
    minimum_key_bytes: int = 16
    body_format: str = "json"  # json or form

    @cached_property
    def headers(self) -> tuple[str, ...]:
        """The headers that a signature needs, in lower case. QUERY and PATH are among them where they are needed."""
        own = (self.header, self.id_header, self.timestamp_header)
        named = [text for name, text in self.content_parts if name == "header"]
        address = [QUERY] if self.query or "query" in self.part_names else []
        address += [PATH] if "path" in self.part_names else []
        return tuple(dict.fromkeys(name.lower() for name in (*own, *named, *address) if name))

    @cached_property
    def signed_headers(self) -> frozenset[str]:
        """The headers whose values are signed, in lower case."""
        named = [text for name, text in self.content_parts if name == "header"]
        stamp = self.timestamp_header if "timestamp" in self.part_names else ""
        return frozenset(name.lower() for name in (self.id_header, stamp, *named) if name)

    @cached_property
    def content_parts(self) -> tuple[Part, ...]:
        """The template of what is signed: placeholders, and the texts between them."""
        return tuple(_part(text) for text in _PARTS.split(self.content) if text)

    @cached_property
    def is_token_signed(self) -> bool:
        """Whether the signature is a JWT."""
        return self.algorithm in JWTS

    @cached_property
    def has_public_key(self) -> bool:
        """Whether a public key checks the signature, which we can't make ourselves."""
        return self.algorithm in PUBLIC_KEYS

    @cached_property
    def signs_timestamp(self) -> bool:
        """Whether a moment is signed, so that an old delivery is told from a new one."""
        return "timestamp" in self.part_names or (self.is_token_signed and bool(self.timestamp_tag))

    @cached_property
    def is_rewritten(self) -> bool:
        """Whether the body that the signature vouches for is not the one that came."""
        return self.signs_fields or bool(self.chosen_fields)

    @cached_property
    def has_loose_parts(self) -> bool:
        """Whether a part is signed in which a sender may write any text."""
        return bool(self.part_names & {*NAMED_PARTS})

    @cached_property
    def encoded_parts(self) -> tuple[tuple[str, str, bytes], ...]:
        """The same with each literal text as bytes."""
        return tuple((name, text, b"" if name else text.encode()) for name, text in self.content_parts)

    @cached_property
    def part_names(self) -> frozenset[str]:
        """The names of the placeholders in `content`."""
        return frozenset(name for name, _ in self.content_parts)

    @cached_property
    def signs_fields(self) -> bool:
        """Whether the body must be parsed to know what is signed, all of it."""
        return "fields" in self.part_names

    @cached_property
    def signs_body(self) -> bool:
        """Whether the body's bytes are signed, or the event is in the signature itself."""
        return bool(self.part_names & {*BODY_PARTS, "claims"})

    @cached_property
    def vouched_format(self) -> str:
        """The format of the body that `verify()` returns. What is read to be verified is written again as JSON."""
        return "json" if self.is_rewritten or "claims" in self.part_names else self.body_format

    @cached_property
    def chosen_fields(self) -> tuple[str, ...]:
        """The dotted paths of the fields that are signed one by one."""
        chosen = [text for name, text in self.content_parts if name == "field"]
        if self.timestamp_field and "timestamp" in self.part_names:
            chosen.append(self.timestamp_field)
        return tuple(dict.fromkeys(chosen))

    @cached_property
    def skipped_fields(self) -> frozenset[str]:
        """The paths that `{fields}` leaves out."""
        return frozenset(path for path in (part.strip() for part in self.fields_without.split(",")) if path)

    @cached_property
    def coverage(self) -> Coverage | None:
        """What of the body is signed. None: all of it."""
        if self.algorithm == TOKEN:
            return Coverage(())
        if self.signs_body or (self.signs_fields and not self.fields_of and not self.skipped_fields):
            return None
        root = f"{self.fields_of}." if self.fields_of else ""
        without = tuple(sorted(f"{root}{path}" for path in self.skipped_fields))
        whole = (self.fields_of,) if self.signs_fields else ()
        chosen = (path.partition("|")[0] for path in self.chosen_fields)
        return Coverage(tuple(dict.fromkeys((*whole, *chosen))), without)

    @cached_property
    def id_joins(self) -> tuple[str, ...]:
        """The texts between `{id}` and the other parts of the template."""
        parts = [("", ""), *self.content_parts, ("", "")]
        place = parts.index(("id", ""))
        return tuple(text for name, text in (parts[place - 1], parts[place + 1]) if text and not name)


def _part(text: str) -> Part:
    if not _PARTS.fullmatch(text):
        return "", text
    name, _, argument = text[1:-1].partition(":")
    return name, argument


STANDARD = "standard-webhooks"
_STANDARD = SignatureScheme(
    name=STANDARD,
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
    if "content" in values:
        values["content"] = values["content"].replace("\\n", "\n")
    return check(replace(SCHEMES[preset], **values))


FEWEST_DIFFERENT = 6
"""A key with fewer different bytes is a placeholder. With a smaller minimum_key_bytes, so many are enough."""
_BROKEN = "can't be MD5: it is broken, and anybody can make two bodies with one hash. Ask the sender for HMAC-SHA256."


def key_bytes(scheme: SignatureScheme, secret: str) -> bytes:
    """The key that the secret's text stands for. Raises UnusableSecret, whose message never quotes the secret."""
    if not secret or secret.isspace():
        raise UnusableSecret("empty")
    if secret != secret.strip():
        raise UnusableSecret("surrounded_by_white_space")
    if secret.startswith("whpk_") and scheme.algorithm not in PUBLIC_KEYS:
        raise UnusableSecret("public_key")
    if is_unfilled(secret):
        raise UnusableSecret("placeholder")
    key = decode_secret(scheme.secret_encoding, secret.removeprefix(scheme.secret_prefix))
    if scheme.algorithm in PUBLIC_KEYS or scheme.algorithm == "jwt-rs256":
        return public_key_bytes(scheme.algorithm, key)
    if len(key) < scheme.minimum_key_bytes:
        raise UnusableSecret("too_short")
    if len(set(key)) < min(FEWEST_DIFFERENT, scheme.minimum_key_bytes):
        raise UnusableSecret("placeholder")
    return key


def decode_secret(encoding: str, text: str) -> bytes:
    """The bytes that a secret's text stands for. Raises UnusableSecret."""
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
        if encoding == "utf-8":
            return text.encode()
    except (binascii.Error, ValueError):
        raise UnusableSecret("malformed") from None
    name, _, form = encoding.partition("-")
    digest = hashlib.new(name, text.encode())
    return digest.hexdigest().encode() if form else digest.digest()


def check(scheme: SignatureScheme) -> SignatureScheme:
    """The scheme itself, if its axes make sense together. Raises InvalidScheme."""
    if "md5" in scheme.algorithm:
        raise InvalidScheme("algorithm", _BROKEN)
    if scheme.algorithm == TOKEN:
        scheme = replace(scheme, content="")  # a token says nothing about what it comes with
    for axis, choices in _CHOICES.items():
        if getattr(scheme, axis) not in choices:
            raise InvalidScheme(axis, f"is none of {', '.join(choices)}")
    for checked in (_check_place, _check_parts, _check_coverage, _check_pairs, _check_algorithm):
        checked(scheme)
    return scheme


def _check_place(scheme: SignatureScheme) -> None:
    if sum(map(bool, (scheme.header, scheme.body_field, scheme.query))) != 1:
        raise InvalidScheme("header", "or body_field or query must say where the signature is, and only one of them")
    headers = [(axis, getattr(scheme, axis)) for axis in ("header", "id_header", "timestamp_header")]
    headers += [("content", text) for name, text in scheme.content_parts if name == "header"]
    for axis, header in headers:
        if header and not _TOKEN.fullmatch(header):
            raise InvalidScheme(axis, "is no header name")


def _check_parts(scheme: SignatureScheme) -> None:
    for found in re.findall(r"\{[^}]*\}", scheme.content):
        name, _, argument = found[1:-1].partition(":")
        if "md5" in name:
            raise InvalidScheme("content", _BROKEN)
        if name not in PARTS or bool(argument) != (name in NAMED_PARTS):
            known = [f"{{{part}:…}}" if part in NAMED_PARTS else f"{{{part}}}" for part in PARTS]
            raise InvalidScheme("content", f"knows {', '.join(sorted(known))} only")
        path, _, form = argument.partition("|")
        if name == "field" and (not all(path.split(".")) or form not in FIELD_TEXTS):
            raise InvalidScheme("content", "needs dotted paths in {field:…}, and knows |digits and |decimals-2 there")


def _check_coverage(scheme: SignatureScheme) -> None:
    covering = [name for name, _ in scheme.content_parts if name in (*BODY_PARTS, "fields", "claims")]
    if scheme.algorithm == TOKEN:
        return
    if len(covering) > 1:
        raise InvalidScheme("content", "must contain {body} or {fields}, once")
    if not covering and not (scheme.part_names & {"field", "header", "query"} or scheme.timestamp_field):
        raise InvalidScheme("content", "must contain {body} or {fields}, once, or at least a {field:…} that is signed")
    if scheme.body_field and scheme.part_names & {*BODY_PARTS}:
        raise InvalidScheme("content", "can't have {body} when the signature is in the body: use {fields}")


def _check_pairs(scheme: SignatureScheme) -> None:
    names = scheme.part_names
    if ("url" in names) != bool(scheme.url):
        raise InvalidScheme("url", "is needed if and only if the content has {url}")
    if ("id" in names) != bool(scheme.id_header):
        raise InvalidScheme("id_header", "is needed if and only if the content has {id}: unsigned it proves nothing")
    stamps = [axis for axis in ("timestamp_header", "timestamp_tag", "timestamp_field") if getattr(scheme, axis)]
    if scheme.algorithm not in JWTS and bool(stamps) != ("timestamp" in names):
        raise InvalidScheme(
            "content", "must have {timestamp} if and only if a timestamp is sent: unsigned it proves nothing"
        )
    if len(stamps) > 1:
        raise InvalidScheme(stamps[1], f"and {stamps[0]} both say where the timestamp is: one must be none")
    if scheme.timestamp_tag and scheme.algorithm not in JWTS and not (scheme.entry_separator and scheme.tag_separator):
        raise InvalidScheme("timestamp_tag", "needs entry_separator and tag_separator")
    if not scheme.signs_fields and (scheme.fields_of or scheme.fields_without):
        raise InvalidScheme("fields_of", "and fields_without are for a content with {fields}")


def _check_algorithm(scheme: SignatureScheme) -> None:
    names, algorithm = scheme.part_names, scheme.algorithm
    if (algorithm in PLAIN_HASHES) and "secret" not in names:
        raise InvalidScheme("content", "must have {secret} for a plain hash: without a secret anybody can make it")
    if "secret" in names and algorithm not in (*PLAIN_HASHES, *HMACS):
        raise InvalidScheme("content", "can't have {secret} with this algorithm")
    if (scheme.encoding == PLAIN) and algorithm not in (TOKEN, *JWTS):
        raise InvalidScheme("encoding", "can be plain for a token only")
    if algorithm in JWTS:
        if ("claims" in names) == bool(scheme.claim):
            raise InvalidScheme("claim", "must name the claim that holds the content, or content must be {claims}")
        if "claims" in names and scheme.content != "{claims}":
            raise InvalidScheme("content", "must be {claims} alone, where the event is in the token")
        if scheme.timestamp_header or scheme.timestamp_field:
            raise InvalidScheme("timestamp_tag", "must name the claim of the token's timestamp")
    elif "claims" in names or scheme.claim:
        raise InvalidScheme("claim", "and {claims} are for a JWT")
