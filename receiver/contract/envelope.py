"""The JSON Schema of a body: each field at its place, as strict and as generous as the envelope is.

receiver/protocol/envelope.py decides what is taken; this module only says it. Unknown fields are always allowed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo

from receiver.contract.sources import OBSERVED, Part, configured, of_field
from receiver.protocol.envelope import MOST_TEXT, REQUIRED
from receiver.protocol.places import is_path, place_of

NOTHING, OPTIONAL_TEXT, EVENT_ID, MOMENT = "Nothing", "OptionalText", "EventId", "Moment"
ENVELOPE = "ObservedFields"
ANY_DATA: Part = {"type": "object"}
_FALSE = ["", 0, False]


@dataclass
class _Place:
    """What stands at one path of a body, and what stands below it."""

    here: list[Part] = field(default_factory=list)
    below: dict[str, "_Place"] = field(default_factory=dict)
    items: "_Place | None" = None
    is_needed: bool = False

    def key(self, name: str) -> "_Place":
        """The place below this key."""
        return self.below.setdefault(name, _Place())

    def item(self) -> "_Place":
        """The place of any item of the list that stands here."""
        self.items = self.items or _Place()
        return self.items

    def schema(self) -> Part:
        """The JSON Schema of what stands here. Where nothing is needed, a value of another kind is taken."""
        shape: Part = {}
        if self.below:
            shape["properties"] = {name: place.schema() for name, place in self.below.items()}
        if needed := [name for name, place in self.below.items() if place.is_needed]:
            shape |= {"type": "object", "required": needed} if self.is_needed else {"required": needed}
        if self.items:
            shape["items"] = self.items.schema()
        if len(self.here) == 1 and not (shape and self.here[0].keys() & shape.keys()):
            return {**self.here[0], **shape}
        return {"allOf": [*self.here, shape]} if self.here else shape


def shared_schemas(zone: tzinfo | None, *, all_is_text: bool) -> dict[str, Part]:
    """The schemas that all bodies share, by name. `all_is_text`: the receiver makes text of every value first."""
    reference = f"#/components/schemas/{NOTHING}"
    return {
        NOTHING: {
            "description": "What counts as absent: null, an empty text, or a structure that holds nothing else.",
            "anyOf": [
                {"enum": [None, ""]},
                {"type": "array", "items": {"$ref": reference}},
                {"type": "object", "additionalProperties": {"$ref": reference}},
            ],
        },
        OPTIONAL_TEXT: {
            "description": f"Text of 1 to {MOST_TEXT} characters. A number or a boolean counts as its text. Text that "
            "is longer or not printable counts as absent.",
            "anyOf": [{"type": ["string", "number", "boolean"]}, {"$ref": reference}],
        },
        EVENT_ID: {
            "description": f"1 to {MOST_TEXT} printable ASCII characters, no spaces. An integer counts as its text.",
            "type": ["string", "number", "boolean"] if all_is_text else ["string", "integer"],
            "pattern": f"^[!-~]{{1,{MOST_TEXT}}}$",
        },
        MOMENT: _moment(zone, lists=zone is not None and not all_is_text),
    }


def body_schema(
    mapping: Mapping[str, str], event_type: Part, data: Part, *, data_is_needed: bool, signature_at: str
) -> Part:
    """The JSON Schema of an event of this type. `signature_at` is the path of the signature, where the body has it."""
    whole = _Place(is_needed=True)
    otherwise: Mapping[str, object] = getattr(mapping, "otherwise", {})
    for name, path in mapping.items():
        if not is_path(path):  # it comes from elsewhere, or is composed
            for inside in place_of(path).paths:
                _at(whole, inside, is_needed=name in REQUIRED)
            continue
        is_needed = (name in REQUIRED and name not in otherwise) or (name == "data" and data_is_needed)
        place = _at(whole, path, is_needed=is_needed)
        place.here.append(_field(name, event_type, data, data_is_needed) | of_field(name))
    if signature_at:
        mark = configured("SENANG_SIGNATURE_BODY_FIELD")
        _at(whole, signature_at, is_needed=True).here.append({"type": "string", **mark})
    return {"allOf": [_reference(ENVELOPE), whole.schema()]}


def observed_schema(paths: list[str]) -> Part:
    """The JSON Schema of fields that real deliveries had. It takes whatever they hold."""
    whole = _Place()
    for path in paths:
        place = whole
        for key in path.split("."):
            name, *items = key.split("[]")
            place = place.key(name)
            for _ in items:
                place = place.item()
        place.here = [OBSERVED]
    return {"description": "Fields that real deliveries had, of all types together.", **whole.schema()}


def _at(whole: _Place, path: str, *, is_needed: bool) -> _Place:
    """The place at the dotted path. What leads to a needed place is needed too."""
    place = whole
    for key in path.split("."):
        place = place.key(key)
        place.is_needed = place.is_needed or is_needed
    return place


def _field(name: str, event_type: Part, data: Part, data_is_needed: bool) -> Part:
    if name == "event_type":
        return event_type
    if name == "data":
        return data if data_is_needed else {"anyOf": [data, {"enum": _FALSE}, _reference(NOTHING)]}
    return _reference({"event_id": EVENT_ID, "timestamp": MOMENT}.get(name, OPTIONAL_TEXT))


def _moment(zone: tzinfo | None, *, lists: bool) -> Part:
    """A list of numbers names no zone, so it is taken only where the settings name one."""
    forms: list[Part] = [
        {"type": "string", "description": "RFC 3339, a looser form of it, RFC 2822, or a number."},
        {"type": "number", "description": "Since 1970, in seconds, milliseconds, microseconds or nanoseconds."},
    ]
    if lists:
        numbers = {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 7}
        forms.append({**numbers, "description": "Year, month, day, hour, minute, second, nanosecond."})
    without = f"is read in {zone}" if zone else "is not taken, since SENANG_TIMESTAMP_ZONE is not set"
    return {"description": f"When it happened. A moment that names no zone {without}.", "anyOf": forms}


def _reference(name: str) -> Part:
    return {"$ref": f"#/components/schemas/{name}"}
