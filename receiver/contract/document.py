"""Puts the contract together: a webhook for each event type, with its body, its headers and the answers to it, and
a path for each question to the JSON API.

Everything in it is read from what is really configured: settings, handlers with their schemas, and what was observed.
"""

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256

from receiver.config import Settings
from receiver.contract import api
from receiver.contract.answers import SCHEMAS, responses
from receiver.contract.envelope import ANY_DATA, ENVELOPE, body_schema, observed_schema, shared_schemas
from receiver.contract.signed import parameters, security_schemes, verification
from receiver.contract.sources import Part, of_type
from receiver.contract.typed import TypedData, paths
from receiver.protocol.json_body import to_json
from receiver.protocol.places import place_of
from receiver.queries.observed import Observed
from receiver.registry import Handling, handler_for, name_of, registered

OPENAPI = "3.1.0"


def contract(settings: Settings, types: Sequence[str], observed: Observed) -> Part:
    """The OpenAPI document. `types` are those that have a webhook in any case."""
    handlings = _handlings(types, observed)
    scheme = settings.scheme
    data = TypedData(
        dict.fromkeys(handling.data for handling in handlings.values() if handling and handling.data),
        SCHEMAS
        | api.schemas()
        | shared_schemas(settings.timestamp_zone, all_is_text=scheme.signs_fields)
        | {ENVELOPE: observed_schema(_not_declared(settings, observed.fields, handlings.values()))},
        all_is_text=scheme.signs_fields,
    )
    headers, security = parameters(scheme), security_schemes(scheme)
    answers = responses(https_only=settings.require_https, most_bytes=settings.max_body_bytes)
    common: Part = {
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in headers],
        "responses": {status: {"$ref": f"#/components/responses/{status}"} for status in answers},
        "security": [{name: []} for name in security],
    }
    webhooks = {
        name: {"post": _webhook(settings, name, handling, data, is_observed=name in observed.types) | common}
        for name, handling in handlings.items()
    }
    found: Part = {
        "webhooks": webhooks,
        "paths": api.paths(settings),
        "components": {
            "schemas": data.components,
            "parameters": headers,
            "responses": answers,
            "securitySchemes": security | api.SECURITY,
        },
        "x-verification": verification(settings),
    }
    return {"openapi": OPENAPI, "info": _info(settings, found), **found}


def _info(settings: Settings, found: Part) -> Part:
    """Title and version. The version is another one whenever the contract is."""
    return {
        "title": settings.name or "Senang.io receiver",
        "version": sha256(to_json(found).encode()).hexdigest()[:12],
        "description": f"What may be sent to {settings.webhook_path}, and what it answers; and the read-only JSON API "
        "of this receiver, whose names are its own. x-source says of each "
        "type, field and header whether Senang.io publishes it (x-sections cites its webhook page), whether it is "
        "configured here, or whether it was only observed in real deliveries.",
    }


def _handlings(types: Iterable[str], observed: Observed) -> dict[str, Handling | None]:
    """Each type and each pattern that has a handler, with the handler."""
    patterns = dict(registered())
    names = dict.fromkeys([*types, *patterns, *observed.types])
    return {name: patterns.get(name) or handler_for(name) for name in names}


def _webhook(settings: Settings, name: str, handling: Handling | None, data: TypedData, *, is_observed: bool) -> Part:
    schema = handling.data if handling else None
    body = body_schema(
        settings.payload_fields,
        _type(name),
        data.references[schema] if schema else ANY_DATA,
        data_is_needed=bool(schema and any(field.required for field in schema().fields.values())),
        signature_at=settings.scheme.body_field,
    )
    found: Part = {
        "operationId": name,
        "summary": f"Events of the type {name}" if name == _fixed(name) else f"Events whose type matches {name}",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        **of_type(name, is_observed=is_observed),
    }
    return found | ({"x-handler": name_of(handling.run)} if handling else {})


def _type(name: str) -> Part:
    """The JSON Schema of `event_type`. For a pattern with a set of characters, any type is taken."""
    if name == _fixed(name):
        return {"const": name}
    if "[" in name:
        return {"type": "string"}
    wild = {"*": ".*", "?": "."}
    return {"type": "string", "pattern": f"^{''.join(wild.get(sign) or re.escape(sign) for sign in name)}$"}


def _fixed(name: str) -> str:
    return re.split(r"[*?\[]", name)[0]


def _not_declared(settings: Settings, fields: Iterable[str], handlings: Iterable[Handling | None]) -> list[str]:
    """The observed paths that neither the envelope nor a schema of the data names."""
    places = [path for text in settings.payload_fields.values() for path in place_of(text).paths]
    places.append(settings.scheme.body_field)
    declared = {".".join(place.split(".")[:depth]) for place in places for depth in range(1, place.count(".") + 2)}
    for handling in handlings:
        if handling and handling.data:
            declared.update(paths(handling.data(), settings.payload_fields["data"]))
    return [path for path in fields if path not in declared]
