"""How a delivery proves where it comes from (§4): one `sign()` and one `verify()` for every scheme.

`verify()` fails closed and raises nothing but InvalidSignature, whatever bytes come. It compares canonical
signature text, so that no second spelling of a signature passes.
"""

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.protocol.errors import InvalidSignature, StaleTimestamp
from app.protocol.schemes import ALGORITHMS, TIMESTAMP_FORMATS, SignatureScheme

MOST_ENTRIES = 16
_MESSAGE_ID = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True)
class Verified:
    """What a right signature vouches for. `key_index` says which secret matched, 0 being the newest."""

    message_id: str | None
    timestamp: datetime | None
    key_index: int


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
