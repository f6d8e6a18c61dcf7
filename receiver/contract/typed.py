"""The JSON Schema of a type's data, made from its marshmallow schema by apispec.

A schema takes more than apispec says: a number may come as text, and a yes may be `1` or `"true"`. The contract says
what is taken. It never refuses what the schema takes; a check that JSON Schema can't express is left out. To say more
of a kind of field, add it to `_TAKEN`.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema, fields

from receiver.contract.sources import Part, configured

MOST_DEPTH = 6
_TAKEN: Mapping[type, list[str]] = {
    fields.Number: ["number", "string"],
    fields.Boolean: ["boolean", "number", "string"],
    fields.TimeDelta: ["number", "string", "boolean"],
}
_OF_NUMBERS = ("minimum", "maximum")


class TypedData:
    """The JSON Schemas of these schemas. `components` holds them by name, beside what is `given`.

    With `all_is_text`, the receiver makes text of every value before a schema reads it.
    """

    def __init__(self, schemas: Iterable[type[Schema]], given: Mapping[str, Part], *, all_is_text: bool) -> None:
        plugin = MarshmallowPlugin()
        spec = APISpec("", "", "3.1.0", plugins=[plugin])
        converter: Any = plugin.converter  # APISpec has made it
        converter.add_attribute_function(lambda _converter, field, ret: _completed(field, ret, all_is_text))
        for name, schema in given.items():
            spec.components.schema(name, schema)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of two schemas with one name: the second gets a number
            self.references: dict[type[Schema], Part] = {
                schema: converter.resolve_nested_schema(schema) for schema in schemas
            }
        self.components: dict[str, Part] = spec.components.schemas


def paths(schema: Schema, prefix: str, depth: int = 0) -> Iterator[str]:
    """The dotted path of each field of the schema, `[]` for any item of a list."""
    for name, field in schema.fields.items():
        path = f"{prefix}.{field.data_key or name}"
        yield path
        inner: Any = field
        if isinstance(inner, fields.List):
            path, inner = f"{path}[]", inner.inner
        if isinstance(inner, fields.Nested) and depth < MOST_DEPTH:
            yield from paths(inner.schema, f"{path}[]" if inner.many else path, depth + 1)


def _completed(field: fields.Field[Any], found: Part, all_is_text: bool) -> Part:
    """What is to be said of the field beside what apispec has found."""
    for name in [name for name, value in found.items() if value is None]:
        del found[name]  # apispec says null where it does not know a format
    said: Part = {name: value for name, value in configured().items() if name not in found}
    types = _types(field, found, all_is_text)
    if types:
        said["type"] = types
    if "number" in types and "string" in types:
        for name in _OF_NUMBERS:
            if isinstance(found.get(name), str):  # of a Decimal that is written as text
                said[name] = field._deserialize(found[name], None, None)
        if "enum" in found:  # of numbers: their texts are taken too
            said["x-enum"] = found.pop("enum")
    return said


def _types(field: fields.Field[Any], found: Part, all_is_text: bool) -> list[str]:
    """The JSON types that the field takes, or none when nothing is to be changed."""
    types: list[str] = []
    for kind, taken in _TAKEN.items():
        if isinstance(field, kind):
            types = taken
    if isinstance(field, fields.DateTime) and str(field.format).startswith("timestamp"):
        types = ["number", "string"]
    if all_is_text and not types and "string" in found.get("type", ()):
        types = ["string", "number", "boolean"]
    return [*types, "null"] if types and field.allow_none else types
