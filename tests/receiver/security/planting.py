"""Plants the values that nobody may see in payloads and in failures, and finds them in what people or programs see."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import sqlalchemy as sa

from receiver.registry import PermanentFailure, RetryLater, handles
from tests.receiver.security.values import PERSONAL

VALUES = [value for values in PERSONAL.values() for value in values]
WAYS = ["dead", "later", "cause", "group", "database", "exit", "nothing"]
"""How the handler fails."""
SHORTEST = 4
"""Characters. What is shorter stands in any text by chance."""


def quote_in_every_way():
    """Register a handler that quotes what it is given, in the way that the event's type says: `leak.dead`."""

    @handles("leak.*")
    def quotes(event, session):
        value = event.data["note"]
        match event.type.removeprefix("leak."):
            case "dead":
                raise PermanentFailure(f"no policy for {value}")
            case "later":
                raise RetryLater(600, f"waits for {value}")
            case "cause":
                try:
                    raise KeyError(value)
                except KeyError as error:
                    raise RuntimeError(value.upper()) from error
            case "group":
                raise ExceptionGroup(value, [ValueError(json.dumps(value)), LookupError(quote(value))])
            case "database":
                session.execute(sa.text("SELECT * FROM nothing WHERE name = :name"), {"name": value})
            case "exit":
                raise SystemExit(value)


def encoded(value):
    """The value as it is written in various places."""
    raw = value.encode()
    forms = {
        value, value.upper(), html.escape(value), quote(value), quote(value, safe=""), quote_plus(value),
        json.dumps(value)[1:-1], repr(value)[1:-1], raw.hex(), base64.b64encode(raw).decode().rstrip("="),
        raw.decode("latin-1"),
    }  # fmt: skip
    return {form for form in forms if len(form) >= SHORTEST}


def found_in(sinks, values):
    """Which of the values stand in which sinks. Most sinks have most of their lines in common."""
    lines = {html.unescape(line) if "&" in line else line for text in sinks.values() for line in text.split("\n")}
    everything = "\n".join(lines)
    hits = {form: value for value in values for form in encoded(value) if form in everything}
    where = {form: next((name for name, text in sinks.items() if form in html.unescape(text)), "?") for form in hits}
    return {value: where[form] for form, value in hits.items()}


def planted(value):
    """The value in all places of a payload but the envelope: keys, values, safe keys, lists, nested."""
    return {
        value: value, "reference": value, "status": value, "code": [value, {"currency": value}],
        "customer": {"name": value, "id": value, value: {"type": value}}, "list": [[value], {value: [value]}],
    }  # fmt: skip
