"""§5 and §11: every type is worked on, and what is new is kept."""

from uuid import uuid4

from receiver.sandbox.samples import types_of
from receiver.sandbox.scenarios.steps import acknowledge, because, expect, expect_one_effect, make, settle
from receiver.sandbox.scenarios.target import Target


def every_type_is_processed(target: Target) -> None:
    """A type without a handler waits: not every partner has access to every type (§5.3)."""
    payloads = {event_type: make(target, event_type) for event_type in types_of(target.samples)}
    for payload in payloads.values():
        acknowledge(target, payload)

    seen = {event_type: settle(target, payload) for event_type, payload in payloads.items()}
    undone = {event_type: what for event_type, what in seen.items() if what.state not in ("processed", "unhandled")}
    happened = "; ".join(f"{event_type} is {what.state}{because(what)}" for event_type, what in undone.items())
    expect(not undone, "every type to be processed", happened)


def an_unknown_type_is_kept(target: Target) -> None:
    """It waits for its handler to be written."""
    unheard_of = make(target, f"introduced.{uuid4().hex}")

    acknowledge(target, unheard_of, "an event of an unknown type")

    settle(target, unheard_of)


def new_fields_do_no_harm(target: Target) -> None:
    """A payload with more in it than is known today."""
    payload = make(target) | {"schema_version": "2027-01", "links": [{"rel": "self", "id": 1}], "note": None}

    acknowledge(target, payload, "an event with new fields")

    expect_one_effect(target, payload, "with new fields in it")


def a_changed_structure_is_acknowledged(target: Target) -> None:
    """Every known field has moved. It is still an event, and is kept until the mapping is corrected."""
    moved = {"sandbox": True, "version": 2, "notification": {"body": make(target)}}

    acknowledge(target, moved, "a signed event whose fields have all moved")
