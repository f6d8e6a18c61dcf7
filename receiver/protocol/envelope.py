"""What a payload says (§2.2): who, what, when, about which policy. Where each field stands is a setting.

This module is strict about what identifies an event: its ID, its type, its moment, and JSON that has only one reading.
It is generous about the rest: an odd optional field counts as absent or as its text, and `Event.odd` says so. One thing
is refused, because information would be lost: an object where text is expected, or text where `data` is expected. Then
the mapping is wrong. Unknown fields are kept, and unknown types are accepted (§5.2, §11.1). To accept another oddity,
add it to `_is_odd()` and `_odd_text()`.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from receiver.protocol.errors import InvalidScheme, UnusablePayload
from receiver.protocol.json_body import at, leaves, parse_object
from receiver.protocol.moments import NoMoment, read_moment
from receiver.protocol.places import BODY_SHA256, Beside, Places, is_path, place_of
from receiver.protocol.schemes import STANDARD, Coverage, SignatureScheme

DEFAULT_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        name: name
        for name in (
            "event_id", "event_type", "timestamp", "transaction_id", "policy_id", "claim_id", "status", "data",
        )
    }
)  # fmt: skip
MOST_TEXT = 200
NOTHING_BESIDE = Beside()

_UNQUOTED = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
"""What stays as it is in a composed event ID. Everything else is written as %20 and the like, as in an address."""
_NO_PATH = re.compile(r"[\s;=\"'|]")
_EVENT_ID = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True, kw_only=True, repr=False)
class Event:
    """One fact that Senang.io reports. `id` is its idempotency key, for work outside the database too.

    It is in clear text, so its repr hides the content: logs and errors never show it.
    """

    id: str
    type: str
    occurred_at: datetime  # aware, UTC
    transaction_id: str | None
    policy_id: str | None
    claim_id: str | None
    status: str | None
    data: Mapping[str, Any]
    payload: Mapping[str, Any]  # everything that was sent and is signed, unknown fields included
    odd: Mapping[str, str] = field(default_factory=dict)  # optional fields that were not as expected, and why
    received_at: datetime | None = None  # aware, UTC; None until it is stored
    unverified: tuple[str, ...] = ()
    """Which fields no signature vouches for: names of the envelope (`status`), then dotted paths of `payload`.

    Whoever saw one delivery could have written them. It is empty where all is signed, as with every usual scheme. Ask
    the sender's API before you act on an unverified amount or status.
    """


def fields_from(text: str, scheme: SignatureScheme | None = None) -> Mapping[str, str]:
    """The field mapping of a setting such as `event_id=meta.id,event_type=type`. Raises InvalidScheme.

    places.py says what may stand behind a name. With standard-webhooks, an event ID that is not in the body is the one
    of the signed header, as its specification has it.
    """
    chosen = dict[str, str]()
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, path = (part.strip() for part in pair.partition("="))
        if name not in DEFAULT_FIELDS:
            raise InvalidScheme("payload_fields", f"knows only {', '.join(DEFAULT_FIELDS)}")
        if name in chosen:
            raise InvalidScheme("payload_fields", f"names {name} twice")
        _check_place(name, path)
        chosen[name] = path
    for path, count in Counter(path for path in chosen.values() if is_path(path)).items():
        if count > 1:
            names = " and ".join(name for name in chosen if chosen[name] == path)
            raise InvalidScheme("payload_fields", f"{names} have the same path")
    if scheme:
        unsigned = set(place_of(chosen.get("event_id", "event_id")).headers) - scheme.signed_headers
        if unsigned:
            raise InvalidScheme("payload_fields", "takes event_id from a header that is not signed")
    is_standard = scheme is not None and scheme.name == STANDARD and scheme.id_header and "event_id" not in chosen
    otherwise = {"event_id": f"header:{scheme.id_header}"} if scheme and is_standard else {}
    places = Places({**DEFAULT_FIELDS, **chosen}, otherwise)
    return places if places.special or places.otherwise else MappingProxyType(dict(places))


def _check_place(name: str, path: str) -> None:
    if not is_path(path):
        place = place_of(path)
        if name == "event_id" and not (place.paths or place.headers or BODY_SHA256 in path):
            raise InvalidScheme("payload_fields", "event_id can't be the same for all deliveries, nor a moment")
        return
    if not path or not all(path.split(".")):
        raise InvalidScheme("payload_fields", f"{name} needs a dotted path")
    if _NO_PATH.search(path):
        raise InvalidScheme(
            "payload_fields",
            f"the path of {name} has a character that no path may have: write name=path,name=path",
        )


def zone_from(text: str) -> tzinfo | None:
    """The zone of a setting, by its IANA name, such as `Asia/Kuala_Lumpur`. Empty means none. Raises InvalidScheme."""
    try:
        return ZoneInfo(text) if text else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidScheme("timestamp_zone", "needs an IANA name such as Asia/Kuala_Lumpur") from None


def events_from(text: str) -> str:
    """The dotted path of a setting such as `events`. Raises InvalidScheme."""
    if text and not all(text.split(".")):
        raise InvalidScheme("payload_events", "needs a dotted path")
    return text


def changing_from(text: str, mapping: Mapping[str, str]) -> tuple[str, ...]:
    """The dotted paths of a setting such as `attempt,meta.sent_at`: there, deliveries of one event may differ.

    Raises InvalidScheme for a path that holds a field of the envelope. The moment may differ: some senders write there
    when they sent the delivery.
    """
    paths = tuple(filter(None, (part.strip() for part in text.split(","))))
    for path in paths:
        if not all(path.split(".")):
            raise InvalidScheme("changing_fields", "needs dotted paths")
        for name, place in mapping.items():
            inside = (place,) if is_path(place) else place_of(place).paths
            if name != "timestamp" and any(f"{one}.".startswith(f"{path}.") for one in inside):
                raise InvalidScheme("changing_fields", f"may not hold {name}")
    return paths


def parse_event(
    body: bytes,
    mapping: Mapping[str, str],
    zone: tzinfo | None = None,
    received_at: datetime | None = None,
    *,
    beside: Beside = NOTHING_BESIDE,
    coverage: Coverage | None = None,
    signed_headers: Collection[str] = (),
) -> Event:
    """The event that the bytes describe. Raises UnusablePayload, whatever the bytes are.

    A moment that names no zone is read in `zone`. `received_at` is passed on to the event. `beside` is what came with
    the body, `coverage` what of the body is signed.
    """
    payload = parse_object(body)
    found = {name: value for name in DEFAULT_FIELDS if (value := at(payload, mapping[name])) is not None}
    if isinstance(mapping, Places):
        _look_elsewhere(found, mapping, body, payload, beside)
    schema = _schema(zone)
    odd: dict[str, str] = {}
    try:
        loaded = schema.take(found)
    except ValidationError:
        odd = _without_oddities(schema, found, body, mapping)
        try:
            loaded = schema.load(found)
        except ValidationError as error:
            raise UnusablePayload(_reasons(error), payload) from None
    return Event(
        id=loaded["event_id"],
        type=loaded["event_type"],
        occurred_at=loaded["timestamp"],
        transaction_id=loaded.get("transaction_id"),
        policy_id=loaded.get("policy_id"),
        claim_id=loaded.get("claim_id"),
        status=loaded.get("status"),
        data=loaded.get("data", {}),
        payload=payload,
        odd=odd,
        received_at=received_at,
        unverified=(
            unverified(payload, mapping, coverage, signed_headers)
            if coverage or (isinstance(mapping, Places) and mapping.special)
            else ()
        ),
    )


def _look_elsewhere(
    found: dict[str, Any], places: Places, body: bytes, payload: Mapping[str, Any], beside: Beside
) -> None:
    """Add the fields that are at no plain path of the body."""
    for name, place in places.special.items():
        value = place.value(body, payload, beside)
        if value is not None:
            found[name] = quote(value, safe=_UNQUOTED) if name == "event_id" and isinstance(value, str) else value
    for name, place in places.otherwise.items():
        if name not in found and (value := place.value(body, payload, beside)) is not None:
            found[name] = value


def unverified(
    payload: Mapping[str, Any], mapping: Mapping[str, str], coverage: Coverage | None, signed_headers: Collection[str]
) -> tuple[str, ...]:
    """The names of the envelope's fields, then the paths of the payload, that no signature vouches for."""
    names = tuple(name for name in DEFAULT_FIELDS if not is_verified(mapping[name], coverage, signed_headers))
    if coverage is None:
        return names
    return names + tuple(path for path, _ in leaves(payload) if not coverage.covers(path))


def is_verified(text: str, coverage: Coverage | None, signed_headers: Collection[str]) -> bool:
    """Whether all that the place is made of is signed."""
    place = place_of(text)
    return all(name in signed_headers for name in place.headers) and (
        coverage is None
        or (all(map(coverage.covers, place.paths)) and (BODY_SHA256 not in text or coverage.paths == ("",)))
    )


def _without_oddities(
    schema: "EventSchema", found: dict[str, Any], body: bytes, mapping: Mapping[str, str]
) -> dict[str, str]:
    """Replace odd optional values by their text, or drop them. Returns what was odd, by field."""
    odd: dict[str, str] = {}
    for name in found.keys() - REQUIRED:
        try:
            schema.readers[name](found[name], name, found)
        except ValidationError as error:
            if _is_odd(name, found[name]):
                odd[name] = str(error.messages[0])
                text = _odd_text(name, found.pop(name), body, mapping)
                if text is not None:
                    found[name] = text
    return odd


def _is_odd(name: str, value: Any) -> bool:
    """Whether a value that the field can't have may count as absent or as its text: then nothing is lost."""
    if isinstance(value, dict | list):  # PHP writes `[[]]`, and Java `{"id": null}`, where there is nothing
        return all(leaf is None or leaf == "" for _, leaf in leaves(value))
    return not value or name != "data"


def _odd_text(name: str, value: Any, body: bytes, mapping: Mapping[str, str]) -> str | None:
    """The text that an odd value counts as. None means that it counts as absent."""
    if name == "data" or not isinstance(value, bool | Decimal):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if not is_path(mapping[name]):
        return str(value) if len(str(value)) <= MOST_TEXT else None
    literal = str(at(parse_object(body, literal_numbers=True), mapping[name]))  # 12.50 is not 12.5
    return literal if len(literal) <= MOST_TEXT else None


class _Text(fields.Field[str]):
    """Text, or an integer, which becomes its text. No characters that a database or a terminal can't take."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValidationError("not_text")
        if isinstance(value, int) and abs(value) >= 10**MOST_TEXT:
            raise ValidationError("too_long")
        text = str(value)
        if not text or text.isspace():
            raise ValidationError("empty")
        if len(text) > MOST_TEXT:
            raise ValidationError("too_long")
        if not text.isprintable():
            raise ValidationError("not_printable")
        return text


class _EventId(_Text):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not _EVENT_ID.fullmatch(text):
            raise ValidationError("not_printable_ascii")
        return text


class _Moment(fields.Field[datetime]):
    """A moment, in one of the forms of moments.py."""

    zone: tzinfo | None = None

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        try:
            return read_moment(value, self.zone)
        except NoMoment as error:
            raise ValidationError(error.reason) from None


class _Object(fields.Field[dict[str, Any]]):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("not_an_object")
        return value


class EventSchema(Schema):
    """The envelope's fields, after the mapping has found them."""

    class Meta:
        unknown = EXCLUDE

    event_id = _EventId(required=True)
    event_type = _Text(required=True)
    timestamp = _Moment(required=True)
    transaction_id = _Text()
    policy_id = _Text()
    claim_id = _Text()
    status = _Text()
    data = _Object()

    def __init__(self, zone: tzinfo | None = None) -> None:
        super().__init__()
        moment: Any = self.fields["timestamp"]  # this schema's own: each has copies of its fields
        moment.zone = zone
        self.readers: dict[str, Any] = {name: found._deserialize for name, found in self.fields.items()}

    def take(self, found: dict[str, Any]) -> dict[str, Any]:
        """The same as `load()`, but faster. Raises ValidationError at the first field that is odd or missing."""
        if not found.keys() >= REQUIRED:
            raise ValidationError("missing")
        readers = self.readers
        return {name: readers[name](value, name, found) for name, value in found.items()}


_schema = cache(EventSchema)
REQUIRED = frozenset(name for name, known in EventSchema().fields.items() if known.required)


def _reasons(error: ValidationError) -> dict[str, list[str]]:
    messages: Any = error.messages
    return {
        field: ["missing" if "Missing data" in reason else reason for reason in reasons]
        for field, reasons in messages.items()
    }
