"""No object shows a key or clear text where it is printed: in a debugger, a log line, an error with its arguments."""

import dataclasses
import importlib
import pkgutil
from datetime import UTC, datetime

import pytest

import receiver
from receiver.clock import Clock
from receiver.ingest.judging import New, Stale, Unusable
from receiver.ingest.rows import Delivery
from receiver.privacy.person import Field, PersonIndex
from receiver.privacy.sealing import parse_keys
from receiver.protocol.captured import Captured
from receiver.protocol.envelope import DEFAULT_FIELDS, parse_event
from receiver.protocol.errors import StaleTimestamp, UnusablePayload
from receiver.protocol.fields import SignedFields
from receiver.protocol.kept import Kept
from receiver.protocol.schemes import SCHEMES
from receiver.protocol.signatures import Signed, Verified
from receiver.sandbox.doctor.budget import ENDLESS
from receiver.sandbox.doctor.causes import prove
from receiver.sandbox.doctor.keys import keys
from receiver.sandbox.doctor.search import search
from receiver.sandbox.sender import Answer, Sender

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
CLEAR = "Siti-900101-14-5678"
BODY = f'{{"event_id": "{CLEAR}", "event_type": "{CLEAR}", "timestamp": 1795507200, "data": ["{CLEAR}"]}}'.encode()
KEY = CLEAR.encode().hex() + b"-Siti-9001015".hex()
SCHEME = SCHEMES["hmac-sha256-hex"]


def sender():
    return Sender("http://127.0.0.1/", SCHEME, CLEAR.encode(), Clock(), lambda *_: Answer(200, "{}", {}))


def captured():
    signed = sender().signed(BODY)
    return Captured("http://127.0.0.1/", tuple(signed.headers.items()), signed.body, NOW)


def an_event():
    fields = {**DEFAULT_FIELDS, "data": "none"}
    return parse_event(BODY, fields)


HOLDERS = {
    "an event": an_event,
    "a sender": sender,
    "a capture": captured,
    "what is sent": lambda: Signed(BODY, {}),
    "what is verified": lambda: Verified(BODY, CLEAR, None, 0),
    "signed fields": lambda: SignedFields(BODY, without=""),
    "a stale delivery": lambda: StaleTimestamp("timestamp_too_old", BODY, 0),
    "an unusable payload": lambda: UnusablePayload({"body": ["not_json"]}, {"name": CLEAR}),
    "a delivery": lambda: Delivery(Kept(BODY), "request", 1),
    "a delivery that was judged new": lambda: New(Kept(BODY), an_event()),
    "a delivery that was judged unusable": lambda: Unusable(Kept(BODY), UnusablePayload({}, {"name": CLEAR})),
    "a delivery that was judged stale": lambda: Stale(Kept(BODY), an_event(), "timestamp_too_old"),
    "a key that the doctor tries": lambda: keys(CLEAR),
    "a person": lambda: PersonIndex((Field("number", "data"),), parse_keys(KEY)).person(CLEAR),
    "the index of people": lambda: PersonIndex((Field("number", "data"),), parse_keys(KEY)),
    "what the doctor found": lambda: search(captured(), [CLEAR]),
    "what the doctor proved": lambda: prove(captured(), [f" {CLEAR} "], [], budget=ENDLESS),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_what_holds_a_key_or_clear_text_does_not_show_it(name):
    held = HOLDERS[name]()

    assert held is not None
    assert not [shown for shown in (repr(held), str(held), f"{held}", repr([held])) if "Siti" in shown]


RUNS_THE_RECEIVER = ("receiver.sandbox.rehearsal", "receiver.sandbox.doctor.__main__")


def classes():
    for module in pkgutil.walk_packages(receiver.__path__, "receiver."):
        if module.name not in RUNS_THE_RECEIVER:
            found = vars(importlib.import_module(module.name)).values()
            yield from (kind for kind in found if isinstance(kind, type) and kind.__module__ == module.name)


def bytes_shown_by(kind):
    """The fields of bytes that an object of the class shows. What is sealed may be shown."""
    if dataclasses.is_dataclass(kind):
        shows = kind.__dataclass_params__.repr
        return [
            field.name
            for field in dataclasses.fields(kind)
            if shows and field.repr and is_clear(field.name, field.type)
        ]
    if hasattr(kind, "_fields"):
        shown = repr(kind._make(f"<{name}>" for name in kind._fields))
        return [name for name, of in kind.__annotations__.items() if is_clear(name, of) and f"<{name}>" in shown]
    return []


def is_clear(name, of):
    return of is bytes and "sealed" not in name


def test_no_class_shows_bytes_that_are_not_sealed():
    assert [(kind.__name__, shown) for kind in classes() if (shown := bytes_shown_by(kind))] == []
