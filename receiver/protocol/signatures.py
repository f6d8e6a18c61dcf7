"""How a delivery proves where it comes from (§4): one `sign()` and one `verify()` for every scheme.

`verify()` fails closed. It raises nothing but InvalidSignature, whatever bytes come. It compares canonical signature
text, so that no second spelling of a signature passes. It returns the body that the signature vouches for. The next
step must read this body, not the one that came (fields.py).
"""

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from receiver.protocol.errors import InvalidSignature, StaleTimestamp, UnusablePayload
from receiver.protocol.fields import HEAVY, SignedFields
from receiver.protocol.json_body import at, parse_object, to_json
from receiver.protocol.moments import written
from receiver.protocol.schemes import TIMESTAMP_FORMATS, SignatureScheme

MOST_ENTRIES = 16
_MESSAGE_ID = re.compile(r"[!-~]{1,200}")
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha512": hashes.SHA512(),
    "sha1": hashes.SHA1(),  # noqa: S303 - only for reading old senders
}


@dataclass(frozen=True, repr=False)
class Verified:
    """What a right signature vouches for. `key_index` says which secret matched; 0 is the newest."""

    body: bytes
    message_id: str | None
    timestamp: datetime | None
    key_index: int


@dataclass(frozen=True, repr=False)
class Signed:
    """A signed delivery: the body, which may hold its own signature, and its headers."""

    body: bytes
    headers: Mapping[str, str]


def sign(body: bytes, *, scheme: SignatureScheme, key: bytes, message_id: str, timestamp: datetime) -> Signed:
    """The delivery that a sender with this scheme makes of a body. `timestamp` is aware.

    Raises UnusablePayload when the scheme reads or writes a field that the body can't have.
    """
    moment = _timestamp_text(scheme, timestamp)
    covered = _covered(scheme, body, SignedFields(body, without=scheme.body_field))
    text = encode_digest(scheme.encoding, _digest(scheme, key, _content(scheme, message_id, moment, covered)))
    entry = f"{scheme.tag}{scheme.tag_separator}{text}" if scheme.tag else text
    if scheme.timestamp_tag:
        entry = f"{scheme.timestamp_tag}{scheme.tag_separator}{moment}{scheme.entry_separator}{entry}"
    headers = {scheme.header: entry, scheme.timestamp_header: moment, scheme.id_header: message_id}
    if scheme.body_field:
        body = _with_field(body, scheme.body_field, entry)
    return Signed(body, {name: value for name, value in headers.items() if name})


def verify(
    body: bytes,
    headers: Mapping[str, str],
    *,
    scheme: SignatureScheme,
    keys: Sequence[bytes],
    now: datetime,
    tolerance: timedelta,
) -> Verified:
    """Check that one of the keys signed exactly this body, and that its timestamp is near `now`.

    Raises InvalidSignature. Raises StaleTimestamp when only the timestamp is wrong.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    fields = SignedFields(body, without=scheme.body_field)  # asked last, because it costs most
    try:
        entries = _entries(scheme, _signature_text(scheme, lowered, fields))
        message_id = _message_id(scheme, lowered)
        moment, timestamp = _timestamp(scheme, lowered, entries)
        signatures = _signatures(scheme, entries)
        content = _content(scheme, message_id, moment, _covered(scheme, body, fields))
    except (InvalidSignature, UnusablePayload) as error:
        _matching_key(scheme, keys, body, [b""])  # the same work for every cause, so that the time tells nothing
        raise _refusal(scheme, error) from None
    key_index = _matching_key(scheme, keys, content, signatures)
    if key_index is None:
        raise InvalidSignature("wrong_signature")
    if scheme.signs_fields:
        body = fields.vouched_body(scheme.value_separator, scheme.field_separator)
    if timestamp is not None and abs(now - timestamp) > tolerance:
        raise StaleTimestamp("timestamp_too_old" if timestamp < now else "timestamp_too_new", body)
    return Verified(body, message_id or None, timestamp, key_index)


def encode_digest(encoding: str, digest: bytes) -> str:
    """The one canonical text of a signature."""
    if encoding == "hex":
        return digest.hex()
    if encoding == "hex-upper":
        return digest.hex().upper()
    encode = base64.urlsafe_b64encode if encoding.startswith("base64url") else base64.b64encode
    text = encode(digest).decode()
    return text.rstrip("=") if encoding.endswith("unpadded") else text


def _content(scheme: SignatureScheme, message_id: str, timestamp: str, covered: bytes) -> bytes:
    """The bytes that are signed. `covered` stands for `{body}` or `{fields}`."""
    values = {"{id}": message_id, "{timestamp}": timestamp, "{url}": scheme.url}
    parts = []
    for part in scheme.content_parts:  # the body may contain `{id}`, so nothing is filled in twice
        parts.append(covered if part in ("{body}", "{fields}") else values.get(part, part).encode())
    return b"".join(parts)


def _covered(scheme: SignatureScheme, body: bytes, fields: SignedFields) -> bytes:
    """The bytes that `{body}` or `{fields}` stands for."""
    return fields.text(scheme.value_separator, scheme.field_separator) if scheme.signs_fields else body


def _refusal(scheme: SignatureScheme, error: InvalidSignature | UnusablePayload) -> InvalidSignature:
    if isinstance(error, InvalidSignature):
        return error
    reason = error.errors["body"][0]
    other = "missing_signature" if scheme.body_field else "malformed_body"
    return InvalidSignature(reason if reason in HEAVY else other)


def _signature_text(scheme: SignatureScheme, headers: Mapping[str, str], fields: SignedFields) -> str:
    if scheme.header:
        return headers.get(scheme.header.lower(), "")
    found = at(fields.payload, scheme.body_field)
    return found if isinstance(found, str) else ""


def _entries(scheme: SignatureScheme, value: str) -> list[str]:
    if not value.strip():
        raise InvalidSignature("missing_signature")
    if not scheme.entry_separator:
        return [value.strip(" ")]
    if value.count(scheme.entry_separator) >= MOST_ENTRIES:
        raise InvalidSignature("too_many_signatures")
    return [entry.strip(" ") for entry in value.split(scheme.entry_separator)]


def _signatures(scheme: SignatureScheme, entries: Sequence[str]) -> list[bytes]:
    """The signature texts with our tag. Foreign and malformed entries beside them do no harm."""
    prefix = f"{scheme.tag}{scheme.tag_separator}" if scheme.tag else ""
    found = [entry.removeprefix(prefix) for entry in entries if entry.startswith(prefix)]
    usable = [text.encode() for text in found if text and text.isascii()]
    if not usable:
        raise InvalidSignature("malformed_signature")
    return usable


def _matching_key(
    scheme: SignatureScheme, keys: Sequence[bytes], content: bytes, signatures: Sequence[bytes]
) -> int | None:
    """The index of the key that matches. Every key is tried with every signature, so that the time tells nothing."""
    match = None
    for index, key in enumerate(keys):
        expected = encode_digest(scheme.encoding, _digest(scheme, key, content)).encode()
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
    # If an ID contained the text between the parts, two different messages could have one signature.
    if not _MESSAGE_ID.fullmatch(value) or any(join in f"{join[1:]}{value}{join[:-1]}" for join in scheme.id_joins):
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
        return f"{written(timestamp).replace(' ', 'T')}Z"
    unit = 1000 if scheme.timestamp_format == "milliseconds" else 1
    return str(int(timestamp.timestamp() * unit))


def _with_field(body: bytes, path: str, text: str) -> bytes:
    payload = parse_object(body, literal_numbers=True)
    *parents, name = path.split(".")
    place = payload
    for key in parents:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise UnusablePayload({path: ["leads_through_a_value"]})
    place[name] = text
    return to_json(payload).encode()


def _digest(scheme: SignatureScheme, key: bytes, content: bytes) -> bytes:
    digest = _keyed(scheme.algorithm, key).copy()
    digest.update(content)
    return digest.finalize()


@lru_cache(64)
def _keyed(algorithm: str, key: bytes) -> HMAC:
    """What every digest with this key begins with. `hmac.digest()` makes it each time, which is half of its work."""
    return HMAC(key, _HASHES[algorithm])
