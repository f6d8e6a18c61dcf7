"""Which documents a body holds once its signature is right: one event, a list, or JSON in a field of a form."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from receiver.protocol.documents import documents
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.fields import item_at
from receiver.protocol.forms import parse_form
from receiver.protocol.json_body import parse_any, parse_object
from receiver.protocol.places import Beside
from receiver.protocol.schemes import SignatureScheme
from receiver.sandbox.doctor.search import Find, verified
from receiver.sandbox.doctor.view import View

LISTS = (
    "events",
    "event",
    "data",
    "entry",
    "notificationitems",
    "items",
    "records",
    "messages",
    "notifications",
    "value",
)
MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, repr=False)
class Document:
    """One event of a delivery, with what stood beside it. It is clear text."""

    body: bytes
    payload: Mapping[str, Any]
    beside: Beside


@dataclass(frozen=True, repr=False)
class Envelope:
    """How the documents of a sender's deliveries are found, and those of all captures."""

    events: str  # SENANG_PAYLOAD_EVENTS, or empty
    deliveries: list[list[Document]]


def envelope(views: list[View], find: Find | None, secret: str) -> Envelope | None:
    """The documents of these deliveries, the examined one first. None when it holds no object."""
    bodies = [_vouched(view, find, secret) for view in views]
    if bodies[0] is None:
        return None
    body, body_format = bodies[0]
    events = _path_of_events(body, body_format)
    deliveries = []
    for view, found in zip(views, bodies, strict=True):
        if found is None:
            continue
        try:
            texts = documents(found[0], body_format=found[1], events=events, most_bytes=MOST_BYTES, is_packed=True)
            if found[1] == "form" and not events:
                texts = [json.dumps(parse_form(found[0])).encode()]
            beside = Beside(view.headers, view.captured.received_at)
            deliveries.append([Document(text, parse_object(text), beside) for text in texts])
        except UnusablePayload:
            if view is views[0]:
                return None
    return Envelope(events, deliveries)


def _vouched(view: View, find: Find | None, secret: str) -> tuple[bytes, str] | None:
    """The body that a right signature vouches for, with its format. Without a find, the body as it came."""
    if find is None:
        return view.captured.body, view.body_format
    scheme: SignatureScheme = find.scheme
    found = verified(view.captured, scheme, secret)
    if found is None:
        return None
    return found.body, scheme.vouched_format if scheme.vouched_format == "json" else view.body_format


def _path_of_events(body: bytes, body_format: str) -> str:
    """Where the list of events stands, when the body is no event itself."""
    try:
        payload = parse_form(body) if body_format == "form" else parse_any(body)
    except UnusablePayload:
        return ""
    if not isinstance(payload, dict):
        return ""
    if body_format == "form" or len(payload) == 1:
        for path, value in payload.items():
            if isinstance(value, str) and value[:1] in ("[", "{") and _is_json(value):
                return str(path)
    for name, value in payload.items():
        plain = "".join(filter(str.isalnum, name.lower()))
        if plain in LISTS and _is_list_of_objects(value) and item_at(payload, name) is value:
            return str(name)
    return ""


def _is_json(text: str) -> bool:
    try:
        return isinstance(parse_any(text.encode()), dict | list)
    except UnusablePayload:
        return False


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
