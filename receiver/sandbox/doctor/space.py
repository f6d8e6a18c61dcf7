"""All ways to sign a delivery: what could be the signature, the key, the timestamp, the ID, the content.

Each function lists the candidates on one axis, likely ones first. To widen the search, add to one of them.
`SignatureScheme` must be able to express what the search can find.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, permutations
from urllib.parse import urlsplit

from receiver.protocol.captured import Captured
from receiver.protocol.errors import UnusablePayload, UnusableSecret
from receiver.protocol.fields import SignedFields
from receiver.protocol.json_body import leaves, parse_object
from receiver.protocol.schemes import SCHEMES, TIMESTAMP_FORMATS, decode_secret

JOINERS = (".", ":", "", ",", "|", "\n", ";", "-", "_", "&", " ")
VALUE_SEPARATORS = ("", "=", ":")
FIELD_SEPARATORS = ("|", "&", ",", "", "\n", ";", ".")
MOST_IDS = 12
MOST_PLACES = 48
"""How many values of a body are tried as its signature. A body can be full of values that look like one."""
MOST_LEAVES = 20_000
LONGEST_SIGNATURE = 2_000
_SIGNATURE_NAME = re.compile(r"(?i)sig|hmac|digest|hash|mac|auth|checksum")
_ALGORITHMS = {20: "sha1", 32: "sha256", 64: "sha512"}
_TAGGED = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,23})([=,: ])(.+)")
_ORDINARY = re.compile(
    r"(?i)(host|content-.*|accept.*|user-agent|connection|x-forwarded-.*|forwarded|via|cache-control|date|pragma|"
    r"authorization|cookie|transfer-encoding|x-real-ip|cf-.*|sec-.*)"
)


@dataclass(frozen=True, repr=False)
class Place:
    """A text that could be the signature, and how to read it."""

    header: str
    body_field: str
    entry_separator: str
    tag: str
    tag_separator: str
    encoding: str
    digest: bytes

    @property
    def algorithm(self) -> str:
        """The algorithms whose digests have this length."""
        return _ALGORITHMS[len(self.digest)]


@dataclass(frozen=True)
class Stamp:
    """A text that could be the signed timestamp."""

    header: str
    tag: str  # of an entry in the signature's own header
    form: str  # one of TIMESTAMP_FORMATS
    text: str


@dataclass(frozen=True, repr=False)
class Key:
    """One way to make the bytes of a key from a secret."""

    prefix: str
    encoding: str
    key: bytes


@dataclass(frozen=True, repr=False)
class Payload:
    """Which part of the body is signed: its bytes, or its sorted fields."""

    placeholder: str
    value_separator: str
    field_separator: str
    content: bytes


def places(captured: Captured) -> list[Place]:
    """Every text with the shape of a signature: in headers first, then in the body. Telling names come first."""
    found = []
    for name, value in captured.headers:
        if name.lower() not in ("authorization", "cookie"):
            found += [Place(name, "", *reading) for reading in _readings(value)]
    for path, value in sorted(_texts(captured.body), key=lambda text: not _SIGNATURE_NAME.search(text[0])):
        found += [Place("", path, *reading) for reading in _readings(value)]
    return list(dict.fromkeys(found))[:MOST_PLACES]


def _texts(body: bytes) -> list[tuple[str, str]]:
    """The texts of the body that are short enough to be a signature, with their paths."""
    try:
        inside = islice(leaves(parse_object(body)), MOST_LEAVES)
        return [(path, value) for path, value in inside if isinstance(value, str) and len(value) <= LONGEST_SIGNATURE]
    except UnusablePayload:
        return []


def stamps(captured: Captured, place: Place) -> list[Stamp]:
    """Every text with the shape of a timestamp: other headers, and entries beside the signature."""
    found = [
        Stamp(name, "", form, value)
        for name, value in captured.headers
        if name != place.header and (form := _timestamp_form(value))
    ]
    for entry in _entries(captured.header(place.header), place.entry_separator) if place.entry_separator else ():
        tag, separator, text = entry.partition(place.tag_separator or "=")
        if separator and tag != place.tag and (form := _timestamp_form(text)):
            found.append(Stamp("", tag, form, text))
    return found


def message_ids(captured: Captured, place: Place) -> list[tuple[str, str]]:
    """Headers that could be a message ID. Telling names come first."""
    found = [
        (name, value)
        for name, value in captured.headers
        if name != place.header and not _ORDINARY.fullmatch(name) and re.fullmatch(r"[!-~]{1,200}", value)
    ]
    return sorted(found, key=lambda header: "id" not in header[0].lower())[:MOST_IDS]


def addresses(captured: Captured) -> list[str]:
    """The forms in which a sender may sign our address: whole by HTTPS or HTTP, without scheme, the path alone."""
    url = urlsplit(captured.url)
    host = url.netloc or captured.header("host")
    target = url.path + (f"?{url.query}" if url.query else "")
    whole = [f"https://{host}{target}", f"http://{host}{target}", f"{host}{target}"] if host else []
    return [address for address in dict.fromkeys([captured.url, *whole, target]) if address]


def keys(secret: str) -> list[Key]:
    """The secret as text, hex or base64, whole or after a prefix such as `whsec_`."""
    prefixes = ["", *(secret[: match.end()] for match in re.finditer("_", secret[:16]))]
    found: dict[bytes, Key] = {}
    for prefix in prefixes:
        rest = secret.removeprefix(prefix)
        for encoding in ("utf-8", "base64", "hex"):
            with suppress(UnusableSecret):
                key = decode_secret(encoding, rest)
                found.setdefault(key, Key(prefix, encoding, key))
    return [key for key in found.values() if key.key]


def payloads(body: bytes, place: Place) -> Iterator[Payload]:
    """The bytes of the body, unless it holds its own signature. Then its sorted fields."""
    if not place.body_field:
        yield Payload("{body}", "", "|", body)
    with suppress(UnusablePayload):
        for field_separator in FIELD_SEPARATORS:
            for value_separator in VALUE_SEPARATORS:
                content = _signed_text(body, value_separator, field_separator, place.body_field)
                yield Payload("{fields}", value_separator, field_separator, content)


# The same for every header that could be the signature.
@lru_cache(maxsize=64)
def _signed_text(body: bytes, value_separator: str, field_separator: str, without: str) -> bytes:
    return _fields(body, without).text(value_separator, field_separator)


@lru_cache(maxsize=4)
def _fields(body: bytes, without: str) -> SignedFields:
    return SignedFields(body, without=without)


def templates(parts: tuple[str, ...], tag: str) -> Iterator[str]:
    """Every order of the parts with every text between them, then the same behind the signature's tag."""
    for order in permutations(parts):
        for joiner in JOINERS if len(parts) > 1 else ("",):
            yield joiner.join(order)
    if tag:
        for order in permutations(parts):
            for joiner in JOINERS:
                yield joiner.join((tag, *order))


def _readings(value: str) -> Iterator[tuple[str, str, str, str, bytes]]:
    """Every way to read the text as a signature: entry separator, tag, tag separator, encoding and digest."""
    if len(value) > LONGEST_SIGNATURE:
        return
    for separator in ("", ",", " ", ";"):
        entries = _entries(value, separator)
        if separator and len(entries) < 2:
            continue
        for entry in entries[:16]:
            if read := _digest(entry):
                yield (separator, "", "", *read)
            elif (tagged := _TAGGED.fullmatch(entry)) and (read := _digest(tagged[3])):
                yield (separator or _customary_separator(tagged[1], tagged[2]), tagged[1], tagged[2], *read)


def _entries(value: str, separator: str) -> list[str]:
    parts = value.split(separator) if separator else [value]
    return [part.strip(" ") for part in parts if part.strip(" ")]


def _customary_separator(tag: str, tag_separator: str) -> str:
    """The entry separator of the preset that looks like this. One entry alone does not show a separator."""
    alike = (s for s in SCHEMES.values() if (s.tag, s.tag_separator) == (tag, tag_separator) and not s.timestamp_tag)
    return next((scheme.entry_separator for scheme in alike), "")


def _digest(text: str) -> tuple[str, bytes] | None:
    """The encoding and the digest, if the text has the length and the letters of a digest."""
    if len(text) in (40, 64, 128) and re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", text):
        return ("hex-upper" if text.upper() == text != text.lower() else "hex"), bytes.fromhex(text)
    if not re.fullmatch(r"[A-Za-z0-9+/_-]+={0,2}", text):
        return None
    name = "base64url" if set(text) & set("-_") else "base64"
    padded = text + "=" * (-len(text) % 4)
    try:
        digest = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        return None
    return (name if padded == text else f"{name}-unpadded", digest) if len(digest) in _ALGORITHMS else None


def _timestamp_form(text: str) -> str | None:
    if re.fullmatch(r"[1-4][0-9]{9}", text):
        return "seconds"
    if re.fullmatch(r"[1-4][0-9]{12}", text):
        return "milliseconds"
    return "rfc3339" if "T" in text and re.fullmatch(TIMESTAMP_FORMATS["rfc3339"], text) else None
