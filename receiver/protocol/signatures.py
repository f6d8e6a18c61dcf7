"""How a delivery proves where it comes from (§4): one `sign()` and one `verify()` for every scheme.

`verify()` fails closed. It raises nothing but InvalidSignature, whatever bytes come. It compares canonical signature
text, so that no second spelling of a signature passes. It returns the body that the signature vouches for. The next
step must read this body, not the one that came (fields.py).
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from receiver.protocol.content import Delivered, Pieces, content_pieces, filled_in, reads_back
from receiver.protocol.errors import InvalidSignature, StaleTimestamp, UnusablePayload
from receiver.protocol.fields import HEAVY, SignedFields, ambiguous, item_at
from receiver.protocol.forms import parse_form, parse_query, written_as
from receiver.protocol.json_body import parse_object, to_json
from receiver.protocol.moments import written
from receiver.protocol.proofs import CHECKS, digest, is_right
from receiver.protocol.schemes import QUERY, TIMESTAMP_FORMATS, SignatureScheme
from receiver.protocol.tokens import Token, claims_of, make_token, parse_token

MOST_ENTRIES = 16
_MESSAGE_ID = re.compile(r"[!-~]{1,200}")
_JWT_ALGORITHMS = {"jwt-hs256": "HS256", "jwt-rs256": "RS256"}
_JWT_PROOFS = {"jwt-hs256": "sha256", "jwt-rs256": "rsa-sha256"}


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
    if scheme.has_public_key or scheme.algorithm == "jwt-rs256":
        raise UnusablePayload({"signature": ["only_the_sender_can_sign"]})
    if scheme.is_token_signed:
        return _signed_by_token(body, scheme, key, timestamp)
    moment = _timestamp_text(scheme, timestamp)
    if scheme.timestamp_field:
        body = _with_field(body, scheme.timestamp_field, moment, scheme.body_format)
    fields = SignedFields(body, without=scheme.body_field, body_format=scheme.body_format)
    pieces = content_pieces(scheme, Delivered(body, {}, fields, message_id, moment))
    text = encode_digest(scheme.encoding, digest(scheme.algorithm, key, filled_in(pieces, key)))
    entry = f"{scheme.tag}{scheme.tag_separator}{text}" if scheme.tag else text
    if scheme.timestamp_tag:
        entry = f"{scheme.timestamp_tag}{scheme.tag_separator}{moment}{scheme.entry_separator}{entry}"
    headers = {scheme.header: entry, scheme.timestamp_header: moment, scheme.id_header: message_id}
    if scheme.body_field:
        body = _with_field(body, scheme.body_field, entry, scheme.body_format)
    return Signed(body, {name: value for name, value in headers.items() if name})


def _signed_by_token(body: bytes, scheme: SignatureScheme, key: bytes, timestamp: datetime) -> Signed:
    """The delivery of a JWT: the event is in it, or a claim of it says what the body is."""
    claims: dict[str, Any] = {}
    if scheme.claim:
        fields = SignedFields(body, without=scheme.body_field, body_format=scheme.body_format)
        content = filled_in(content_pieces(scheme, Delivered(body, {}, fields, "", "")), b"")
        _put(claims, scheme.claim, content.decode())
    else:
        claims, body = _parsed(body, scheme.body_format), b"{}"
    if scheme.timestamp_tag:
        claims[scheme.timestamp_tag] = int(timestamp.timestamp())
    sign_token = partial(digest, _JWT_PROOFS[scheme.algorithm], key)
    token = make_token(_JWT_ALGORITHMS[scheme.algorithm], to_json(claims).encode(), sign_token)
    entry = f"{scheme.tag}{scheme.tag_separator}{token}" if scheme.tag else token
    if not scheme.body_field:
        return Signed(body, {scheme.header: entry})
    sent = _parsed(body, scheme.body_format) if scheme.claim else {}
    _put(sent, scheme.body_field, entry)
    return Signed(written_as(scheme.body_format, sent), {})


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
    if scheme.is_token_signed:
        return _verify_token(body, lowered, scheme, keys, now, tolerance)
    fields = SignedFields(body, without=scheme.body_field, body_format=scheme.body_format)  # asked last: it costs most
    try:
        entries = _entries(scheme, _signature_text(scheme, lowered, fields))
        message_id = _message_id(scheme, lowered)
        moment, timestamp = _timestamp(scheme, lowered, entries, fields)
        signatures = _signatures(scheme, entries)
        pieces = content_pieces(scheme, Delivered(body, lowered, fields, message_id, moment))
    except (InvalidSignature, UnusablePayload) as error:
        _matching_key(scheme, keys, [body], [b""])  # the same work for every cause, so that the time tells nothing
        raise _refusal(scheme, error) from None
    key_index = _matching_key(scheme, keys, pieces, signatures)
    if key_index is None:
        raise InvalidSignature("wrong_signature")
    if scheme.is_rewritten:
        body = fields.vouched_body(scheme)
    if scheme.has_loose_parts and not reads_back(scheme, pieces):
        raise ambiguous()
    if timestamp is not None and abs(now - timestamp) > tolerance:
        raise StaleTimestamp("timestamp_too_old" if timestamp < now else "timestamp_too_new", body, key_index)
    return Verified(body, message_id or None, timestamp, key_index)


def _verify_token(
    body: bytes,
    headers: Mapping[str, str],
    scheme: SignatureScheme,
    keys: Sequence[bytes],
    now: datetime,
    tolerance: timedelta,
) -> Verified:
    """`verify()` for a JWT. The event is in it, or a claim of it says what the body is."""
    fields = SignedFields(body, without=scheme.body_field, body_format=scheme.body_format)
    try:
        texts = _signatures(scheme, _entries(scheme, _signature_text(scheme, headers, fields)))
    except (InvalidSignature, UnusablePayload) as error:
        raise _refusal(scheme, error) from None
    found = _matching_token(scheme, keys, texts)
    if found is None:
        raise InvalidSignature("wrong_signature")
    token, key_index = found
    claims = claims_of(token) or {}
    if scheme.claim:
        content = filled_in(content_pieces(scheme, Delivered(body, headers, fields, "", "")), b"")
        claimed = item_at(claims, scheme.claim)
        if not hmac.compare_digest(content, claimed.encode() if isinstance(claimed, str) else b""):
            raise InvalidSignature("wrong_signature")
    else:
        body = token.claims
    timestamp = _claimed_moment(claims, scheme.timestamp_tag) if scheme.timestamp_tag else None
    if timestamp is not None and abs(now - timestamp) > tolerance:
        raise StaleTimestamp("timestamp_too_old" if timestamp < now else "timestamp_too_new", body, key_index)
    if "exp" in claims and _claimed_moment(claims, "exp") < now - tolerance:
        raise StaleTimestamp("timestamp_too_old", body, key_index)
    return Verified(body, None, timestamp, key_index)


def _matching_token(scheme: SignatureScheme, keys: Sequence[bytes], texts: Sequence[bytes]) -> tuple[Token, int] | None:
    name = _JWT_PROOFS[scheme.algorithm]
    tokens = [parse_token(text, _JWT_ALGORITHMS[scheme.algorithm]) for text in texts]
    for token in filter(None, tokens):
        for index, key in enumerate(keys):
            if name in CHECKS:
                is_signed = is_right(name, key, token.signature, token.signed)
            else:
                is_signed = hmac.compare_digest(digest(name, key, token.signed), token.signature)
            if is_signed:
                return token, index
    return None


def _claimed_moment(claims: Mapping[str, object], name: str) -> datetime:
    value = claims.get(name)
    if value is None:
        raise InvalidSignature("missing_timestamp")
    try:
        return datetime.fromtimestamp(float(str(value)), UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidSignature("malformed_timestamp") from None


def encode_digest(encoding: str, made: bytes) -> str:
    """The one canonical text of a signature."""
    if encoding == "hex":
        return made.hex()
    if encoding == "hex-upper":
        return made.hex().upper()
    if encoding == "plain":
        return made.decode("latin-1")
    encode = base64.urlsafe_b64encode if encoding.startswith("base64url") else base64.b64encode
    text = encode(made).decode()
    return text.rstrip("=") if encoding.endswith("unpadded") else text


def decode_digest(encoding: str, text: str) -> bytes | None:
    """The bytes of a signature's text, or None. A second spelling is none."""
    try:
        if encoding.startswith("hex"):
            made = bytes.fromhex(text)
        else:
            padded = text + "=" * (-len(text) % 4)
            made = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return made if encode_digest(encoding, made) == text else None


def _refusal(scheme: SignatureScheme, error: InvalidSignature | UnusablePayload) -> InvalidSignature:
    if isinstance(error, InvalidSignature):
        return error
    reason = error.errors["body"][0]
    other = "missing_signature" if scheme.body_field else "malformed_body"
    return InvalidSignature(reason if reason in HEAVY else other)


def _signature_text(scheme: SignatureScheme, headers: Mapping[str, str], fields: SignedFields) -> str:
    if scheme.header:
        return headers.get(scheme.header.lower(), "")
    if scheme.query:
        return parse_query(headers.get(QUERY, "")).get(scheme.query, "")
    found = item_at(fields.payload, scheme.body_field)
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
    scheme: SignatureScheme, keys: Sequence[bytes], pieces: Pieces, signatures: Sequence[bytes]
) -> int | None:
    """The index of the key that matches. Every key is tried with every signature, so that the time tells nothing."""
    match = None
    content = b"" if None in pieces else filled_in(pieces, b"")
    for index, key in enumerate(keys):
        signed = content or filled_in(pieces, key)
        if scheme.has_public_key:
            found = any(_is_right(scheme, key, text, signed) for text in signatures)
        else:
            expected = encode_digest(scheme.encoding, digest(scheme.algorithm, key, signed)).encode()
            found = False
            for text in signatures:
                found = hmac.compare_digest(expected, text) or found
        if found and match is None:
            match = index
    return match


def _is_right(scheme: SignatureScheme, key: bytes, text: bytes, content: bytes) -> bool:
    made = decode_digest(scheme.encoding, text.decode())
    return made is not None and is_right(scheme.algorithm, key, made, content)


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
    scheme: SignatureScheme, headers: Mapping[str, str], entries: Sequence[str], fields: SignedFields
) -> tuple[str, datetime | None]:
    if scheme.timestamp_header:
        text = headers.get(scheme.timestamp_header.lower(), "")
    elif scheme.timestamp_field:
        text = fields.chosen(scheme.timestamp_field)
    elif not scheme.timestamp_tag:
        return "", None
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


def _with_field(body: bytes, path: str, text: str, body_format: str) -> bytes:
    payload = _parsed(body, body_format)
    _put(payload, path, text)
    return written_as(body_format, payload)


def _parsed(body: bytes, body_format: str) -> dict[str, Any]:
    return parse_form(body) if body_format == "form" else parse_object(body, literal_numbers=True)


def _put(payload: dict[str, Any], path: str, text: str) -> None:
    *parents, name = path.split(".")
    place = payload
    for key in parents:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise UnusablePayload({path: ["leads_through_a_value"]})
    place[name] = text
