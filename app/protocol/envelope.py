"""What a payload says (§2.2): who, what, when, about which policy. Where each field stands is a setting.

Strict where a second reading would be possible (duplicate keys, NaN, two spellings of an ID), open everywhere
else: unknown fields are kept and unknown types accepted (§5.2, §11.1).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from app.protocol.errors import InvalidScheme, UnusablePayload
from app.protocol.json_body import at, parse_object

DEFAULT_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        name: name
        for name in (
            "event_id", "event_type", "timestamp", "transaction_id", "policy_id", "claim_id", "status", "data",
        )
    }
)  # fmt: skip
MOST_TEXT = 200
MILLISECONDS_FROM = 10**11
"""Integers from here on are milliseconds: as seconds they would lie after the year 5138."""

_EVENT_ID = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True, kw_only=True)
class Event:
    """One fact that Senang.io tells. `id` is its idempotency key, for work outside the database too."""

    id: str
    type: str
    occurred_at: datetime  # aware, UTC
    transaction_id: str | None
    policy_id: str | None
    claim_id: str | None
    status: str | None
    data: Mapping[str, Any]
    payload: Mapping[str, Any]  # everything that was sent, unknown fields included


def fields_from(text: str) -> Mapping[str, str]:
    """The field mapping of a setting such as `event_id=meta.id,event_type=type`. Raises InvalidScheme."""
    mapping = dict(DEFAULT_FIELDS)
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, path = (part.strip() for part in pair.partition("="))
        if name not in DEFAULT_FIELDS:
            raise InvalidScheme("payload_fields", f"knows only {', '.join(DEFAULT_FIELDS)}")
        if not path or not all(path.split(".")):
            raise InvalidScheme("payload_fields", f"{name} needs a dotted path")
        mapping[name] = path
    return MappingProxyType(mapping)


def parse_event(body: bytes, mapping: Mapping[str, str]) -> Event:
    """The event that the bytes describe. Raises UnusablePayload, whatever the bytes are."""
    payload = parse_object(body)
    found = {name: value for name in DEFAULT_FIELDS if (value := at(payload, mapping[name])) is not None}
    try:
        loaded = _SCHEMA.take(found)
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
    )


class _Text(fields.Field[str]):
    """Text, or an integer, which becomes its text. Nothing that a database or a terminal would choke on."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValidationError("not_text")
        if isinstance(value, int) and abs(value) >= 10**MOST_TEXT:
            raise ValidationError("too_long")
        text = str(value)
        if not text:
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
    """RFC 3339 with an offset, or a whole number of seconds or milliseconds since 1970."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        try:
            if isinstance(value, int) and not isinstance(value, bool):
                return datetime.fromtimestamp(value / 1000 if abs(value) >= MILLISECONDS_FROM else value, UTC)
            if not isinstance(value, str):
                raise ValidationError("not_a_timestamp")
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise ValidationError("missing_offset")
            return moment.astimezone(UTC)
        except (ValueError, OverflowError, OSError) as error:
            if isinstance(error, ValidationError):
                raise
            raise ValidationError("not_a_timestamp") from None


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

    def take(self, found: dict[str, Any]) -> dict[str, Any]:
        """What `load()` returns, field by field, which is faster. Raises ValidationError with all reasons."""
        try:
            if found.keys() >= REQUIRED:
                return {name: _READERS[name](value, name, found) for name, value in found.items()}
        except ValidationError:
            pass
        loaded: dict[str, Any] = self.load(found)
        return loaded


_SCHEMA = EventSchema()
_READERS: dict[str, Any] = {name: field._deserialize for name, field in _SCHEMA.fields.items()}
REQUIRED = frozenset(name for name, field in _SCHEMA.fields.items() if field.required)


def _reasons(error: ValidationError) -> dict[str, list[str]]:
    messages: Any = error.messages
    return {
        field: ["missing" if "Missing data" in reason else reason for reason in reasons]
        for field, reasons in messages.items()
    }
