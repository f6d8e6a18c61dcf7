"""What the `data` of an event type must hold: a schema of marshmallow, named by a handler: `@handles(…, data=Terms)`.

Senang.io publishes no such schema (§2.2), so a schema is tolerant: it keeps unknown fields, and takes null for a field
that is not required. Data that does not fit is no matter of another attempt. Its error names each field with a reason
code, and never a value. A validator of your own gives a code such as `ValidationError("too_early")`.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields

from receiver.privacy.grammar import is_identifier_key
from receiver.protocol.json_body import leaves

MOST_NAMED = 20
_CODE = re.compile(r"[a-z][a-z_]{0,39}")
_CODES = {"required": "missing", "null": "null", "invalid_utf8": "not_text", "special": "not_finite"}
OTHER = "not_valid"


class DataSchema(Schema):
    """Derive the schema of a type's data from it. Unknown fields are kept; a field that is not required may be null."""

    class Meta:
        unknown = INCLUDE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """marshmallow calls this for each field: its errors become codes."""
        super().on_bind_field(field_name, field_obj)
        field_obj.error_messages = {key: _CODES.get(key, OTHER) for key in field_obj.error_messages}
        field_obj.allow_none = field_obj.allow_none or not field_obj.required


class DataDoesNotFit(Exception):
    """The data of the event does not fit the schema of its handler. `reasons` maps the path of a field to its codes."""

    def __init__(self, schema: str, reasons: Mapping[str, list[str]]) -> None:
        self.reasons = reasons
        named = [f"{path} {'/'.join(codes)}" for path, codes in list(reasons.items())[:MOST_NAMED]]
        more = [f"{len(reasons) - MOST_NAMED} more"] if len(reasons) > MOST_NAMED else []
        super().__init__(f"the data does not fit {schema}: {', '.join([*named, *more])}")


def load_data(schema: type[Schema], data: Mapping[str, Any]) -> dict[str, Any]:
    """The data as the schema reads it. Raises DataDoesNotFit."""
    try:
        loaded: dict[str, Any] = _made(schema).load(data)
    except ValidationError as error:
        reasons: dict[str, list[str]] = {}
        values = {str(value).lower() for _path, value in leaves(data)}
        for path, code in _reasons(error.messages, ""):
            reasons.setdefault(path, []).append(OTHER if code in values else code)
        raise DataDoesNotFit(schema.__name__, reasons) from None
    return loaded


@cache
def _made(schema: type[Schema]) -> Schema:
    """Once: making one copies all its fields, which takes longer than a handler."""
    return schema()


def _reasons(messages: Any, path: str) -> Iterator[tuple[str, str]]:
    """Each path with a code. A message that is no code may quote a value, and a key may be one."""
    if isinstance(messages, dict):
        for key, inner in messages.items():
            name = str(key) if isinstance(key, int) or is_identifier_key(str(key)) else "[key]"
            yield from _reasons(inner, f"{path}.{name}" if path else name)
        return
    for message in messages if isinstance(messages, list) else [messages]:
        if isinstance(message, dict):
            yield from _reasons(message, path)
        else:
            yield path or "data", message if _is_code(message) else OTHER


def _is_code(message: object) -> bool:
    return isinstance(message, str) and _CODE.fullmatch(message) is not None
