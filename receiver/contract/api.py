"""What the read-only JSON API answers: a path for each view of receiver/web/api.py, with its schema.

The columns of events and audit rows are read from the tables, so they can't lag behind. These answers are the
receiver's own: no mark is needed.
"""

from datetime import datetime
from typing import Any

from receiver.config import Settings
from receiver.contract.answers import PROBLEM_SCHEMA
from receiver.contract.sources import Part
from receiver.problem import PROBLEM
from receiver.queries.conditions import CODES
from receiver.queries.filters import Filter
from receiver.queries.told import AUDIT, EVENT, SCOPES
from receiver.store.lifecycle import State
from receiver.store.models import AuditEntry, StoredEvent

TOKEN = "token"  # noqa: S105 - the name of a security scheme
SECURITY: dict[str, Part] = {
    TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the API. An operator makes it on the page Tokens, or by `flask tokens create`. "
        f"Its scopes: {', '.join(SCOPES)}.",
    }
}
_TYPES: dict[type, Part] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
}
_MOMENT = _TYPES[datetime]
_TEXTS: Part = {"type": "array", "items": {"type": "string"}}
_WORDS = {
    "state": "A state. May be repeated.",
    "failing": "`yes`: only events whose last attempt failed, and that will be tried again.",
    "type": "The event type.",
    "since": "Received at this moment or later. ISO 8601, UTC where it names no zone.",
    "until": "Received before this moment. A date alone includes its day.",
    "cause": "Only failures of this cause.",
    "attempts": "So many attempts or more. A page looks at 10,000 rows: follow `older` even if it is empty.",
    "origin": "`delivery`: what was sent here. `follow-up`: what a handler asked for. Looked at as for `attempts`.",
    "q": "An event, transaction, policy or claim ID, or how it begins. Routers log addresses: send nothing personal.",
    "before": "The cursor `older` of a page: the next older rows.",
    "after": "The cursor `newer` of a page: the next newer rows.",
    "limit": "How many rows a page has, 200 at most.",
    "event_id": "The event's ID.",
    "action": "What was done, such as `delivery` or `replay`.",
}
_REFUSALS = {
    "400": "A parameter means nothing here.",
    "401": "No token, or one that does not work.",
    "403": "The token does not have the scope.",
    "429": "The token has had too many requests in this minute. Ask again after Retry-After.",
    "503": "The database does not answer. Ask again after Retry-After.",
}


def schemas() -> dict[str, Part]:
    """The schemas of the answers, by name."""
    event, audit = _of_columns(StoredEvent, EVENT), _of_columns(AuditEntry, AUDIT)
    event["properties"]["state"] = {"enum": [state.value for state in State]}
    event["properties"]["handler"] = _or_null(_TYPES[str]) | {"description": "The function that runs this type now."}
    return {
        "Event": event,
        "AuditRow": audit,
        "EventWithEverything": {
            "allOf": [
                _reference("Event"),
                _object(
                    masked_payload={"description": "Null when retention has erased it."},
                    audit=_list_of("AuditRow"),
                    audit_left_out={"type": "integer", "description": "Rows in the middle of a very long trail."},
                    follow_ups=_list_of("Event"),
                ),
            ]
        },
        "Failure": _object(
            cause={"type": "string"},
            count={"type": "integer"},
            by_state={"type": "object", "additionalProperties": {"type": "integer"}},
            first_seen=_MOMENT,
            last_seen=_MOMENT,
            new={"type": "boolean"},
            event_type=_or_null(_TYPES[str]),
            error=_or_null(_TYPES[str]),
            sample={"type": "string"},
            sample_id={"type": "integer"},
        ),
        "Health": _object(
            ok={"type": "boolean"},
            alarms=_TEXTS,
            codes={"type": "array", "items": {"enum": list(CODES)}},
            now=_MOMENT,
            counts={"type": "object", "additionalProperties": {"type": "integer"}},
        ),
    }


def paths(settings: Settings) -> dict[str, Part]:
    """The paths of the API, as this receiver serves them."""
    begin, cursor = f"{settings.script_name}/api", _or_null(_TYPES[str])
    row = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}, "description": "Its `id`."}
    since = {"name": "since", "in": "query", "schema": {"enum": ["start", "24h", "7d"]}}
    return {
        f"{begin}/events": _get(
            "events:read", "The newest events that match",
            _object(events=_list_of("Event"), older=cursor, newer=cursor, capped={"type": "boolean"}),
            *map(_parameter, (*Filter.PARAMETERS, "before", "after", "limit")),
        ),
        f"{begin}/events/{{id}}": _get(
            "events:read", "One event, with its masked payload and what happened to it",
            _reference("EventWithEverything"), row, status_404=True,
        ),
        f"{begin}/audit": _get(
            "audit:read", "The newest rows of the audit log that match",
            _object(audit=_list_of("AuditRow"), older=cursor),
            *map(_parameter, ("event_id", "action", "since", "until", "before", "limit")),
        ),
        f"{begin}/health": _get("health:read", "The health, and what needs a person", _reference("Health")),
        f"{begin}/failures": _get(
            "failures:read", "Failures by their cause",
            _object(since=_or_null(_MOMENT), capped={"type": "boolean"}, failures=_list_of("Failure")), since,
        ),
    }  # fmt: skip


def _get(scope: str, summary: str, answer: Part, *parameters: Part, status_404: bool = False) -> Part:
    refusals = _REFUSALS | ({"404": "There is no such row."} if status_404 else {})
    responses = {"200": {"description": summary, "content": {"application/json": {"schema": answer}}}} | {
        status: {"description": words, "content": {PROBLEM: {"schema": _reference(PROBLEM_SCHEMA)}}}
        for status, words in sorted(refusals.items())
    }
    asked = {"summary": summary, "description": f"Needs the scope `{scope}`.", "security": [{TOKEN: []}]}
    return {"get": asked | {"parameters": list(parameters), "responses": responses}}


def _parameter(name: str) -> Part:
    schema: Part = {"type": "integer", "minimum": 1, "maximum": 200} if name == "limit" else {"type": "string"}
    if name == "state":
        schema = {"type": "array", "items": {"enum": [state.value for state in State]}}
    return {"name": name, "in": "query", "description": _WORDS[name], "schema": schema}


def _of_columns(model: Any, names: tuple[str, ...]) -> Part:
    columns = {name: model.__table__.c[name] for name in names if name in model.__table__.c}
    kinds = {name: getattr(column.type, "impl_instance", column.type) for name, column in columns.items()}
    found = {name: _TYPES[kind.python_type] for name, kind in kinds.items()}
    return _object(**{name: _or_null(found[name]) if columns[name].nullable else found[name] for name in columns})


def _object(**properties: Part) -> Part:
    """An object that has all of these. It may have more: later releases tell more."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list_of(name: str) -> Part:
    return {"type": "array", "items": _reference(name)}


def _or_null(schema: Part) -> Part:
    return {**schema, "type": [schema["type"], "null"]}


def _reference(name: str) -> Part:
    return {"$ref": f"#/components/schemas/{name}"}
