"""What the receiver answers. The examples are the bodies that it really sends. They are its own: no mark is needed."""

import json

from receiver.contract.sources import Part, published
from receiver.ingest.answering import UNAUTHORIZED, UNAVAILABLE, Reply, refusal
from receiver.ingest.reading import TooLarge
from receiver.problem import PROBLEM
from receiver.transport import PlainHttp

ACKNOWLEDGED = "Acknowledged"
PROBLEM_SCHEMA = "Problem"

SCHEMAS: dict[str, Part] = {
    ACKNOWLEDGED: {
        "type": "object",
        "properties": {
            "status": {"enum": ["accepted", "duplicate", "quarantined"]},
            "event_id": {"type": "string"},
            "events": {
                "description": "Of a delivery with several events: the answer to each, in their order.",
                "type": "array",
                "items": {"$ref": f"#/components/schemas/{ACKNOWLEDGED}"},
            },
            "errors": {
                "description": "Of a body that is no event: a reason code for each field, and no value.",
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": "string"}},
            },
        },
        "required": ["status"],
    },
    PROBLEM_SCHEMA: {
        "description": "A problem document (RFC 9457).",
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
        "required": ["type", "title", "status", "detail"],
    },
}


def responses(*, https_only: bool, most_bytes: int) -> dict[str, Part]:
    """The answers to a delivery, by status."""
    acknowledged = {"schema": {"$ref": f"#/components/schemas/{ACKNOWLEDGED}"}}
    found: dict[str, Part] = {
        "200": {
            "description": "It is stored, or it was stored before. What is no event is stored too: it is quarantined.",
            "content": {"application/json": acknowledged},
            **published("2.3"),
        },
        "401": _problem("It is not proved authentic. The body is the same for every cause.", UNAUTHORIZED),
        "413": _problem(f"The body has more than {most_bytes:,} bytes (MAX_BODY_BYTES).", refusal(TooLarge())),
        "503": _problem("It could not be stored in time. Send it again after Retry-After.", UNAVAILABLE),
    }
    found["503"]["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}}
    if https_only:
        found["403"] = _problem("It came over plain HTTP (REQUIRE_HTTPS).", refusal(PlainHttp()))
    return found


def _problem(description: str, reply: Reply) -> Part:
    schema = {"$ref": f"#/components/schemas/{PROBLEM_SCHEMA}"}
    return {"description": description, "content": {PROBLEM: {"schema": schema, "example": json.loads(reply.body)}}}
