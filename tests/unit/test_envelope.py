"""What a payload says, and what makes it unusable."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.protocol.envelope import DEFAULT_FIELDS, fields_from, parse_event
from app.protocol.errors import InvalidScheme, UnusablePayload

GOOD = {"event_id": "evt_1", "event_type": "payment.success", "timestamp": "2026-11-24T08:00:00+08:00"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def parse(body, mapping=DEFAULT_FIELDS):
    return parse_event(body if isinstance(body, bytes) else json.dumps(body).encode(), mapping)


def test_a_good_payload_becomes_an_event_in_utc():
    event = parse(GOOD | {"extra": 1})

    assert (event.id, event.type, event.occurred_at.isoformat()) == (
        "evt_1",
        "payment.success",
        "2026-11-24T00:00:00+00:00",
    )
    assert event.payload["extra"] == 1


@pytest.mark.parametrize("moment", [1795507200, 1795507200000, "2026-11-24T08:00:00Z"])
def test_seconds_milliseconds_and_rfc_3339_are_the_same_moment(moment):
    assert parse(GOOD | {"timestamp": moment}).occurred_at.isoformat() == "2026-11-24T08:00:00+00:00"


def test_an_integer_id_becomes_its_text():
    assert parse(GOOD | {"event_id": 42}).id == "42"


def test_fields_are_found_where_the_setting_says():
    mapping = fields_from("event_id=meta.id, event_type=type")

    event = parse({"meta": {"id": "e"}, "type": "t", "timestamp": GOOD["timestamp"]}, mapping)

    assert (event.id, event.type) == ("e", "t")


@pytest.mark.parametrize("text", ["colour=x", "event_id=", "event_id=a..b", "event_id"])
def test_a_mapping_that_makes_no_sense_is_refused(text):
    with pytest.raises(InvalidScheme):
        fields_from(text)


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (b"\xff", {"body": ["not_utf8"]}),
        (b"\xef\xbb\xbf{}", {"body": ["not_json"]}),
        (b"", {"body": ["not_json"]}),
        (b"[]", {"body": ["not_an_object"]}),
        (b'{"a":1,"a":2}', {"body": ["duplicate_key"]}),
        (b'{"a":{"b":1,"b":1}}', {"body": ["duplicate_key"]}),
        (b'{"a":NaN}', {"body": ["not_a_finite_number"]}),
        (b'{"a":1e400}', {"body": ["not_a_finite_number"]}),
        (b'{"a":' + b"9" * 5000 + b"}", {"body": ["not_json"]}),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", {"body": ["too_deep"]}),
        (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", {"body": ["too_deep"]}),
        (GOOD | {"event_id": None}, {"event_id": ["missing"]}),
        (GOOD | {"event_id": True}, {"event_id": ["not_text"]}),
        (GOOD | {"event_id": 1.5}, {"event_id": ["not_text"]}),
        (GOOD | {"event_id": "a b"}, {"event_id": ["not_printable_ascii"]}),
        (GOOD | {"event_id": "x" * 201}, {"event_id": ["too_long"]}),
        (GOOD | {"event_id": ""}, {"event_id": ["empty"]}),
        (GOOD | {"event_type": "a\u0000b"}, {"event_type": ["not_printable"]}),
        (GOOD | {"event_type": "\ud800"}, {"event_type": ["not_printable"]}),
        (GOOD | {"timestamp": "2026-11-24T08:00:00"}, {"timestamp": ["missing_offset"]}),
        (GOOD | {"timestamp": "yesterday"}, {"timestamp": ["not_a_timestamp"]}),
        (GOOD | {"timestamp": 10**30}, {"timestamp": ["not_a_timestamp"]}),
        (GOOD | {"policy_id": ["x"]}, {"policy_id": ["not_text"]}),
        (GOOD | {"data": "x"}, {"data": ["not_an_object"]}),
    ],
)
def test_each_unusable_payload_has_its_reason(body, errors):
    with pytest.raises(UnusablePayload) as caught:
        parse(body)

    assert caught.value.errors == errors


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_bytes_come_only_the_typed_error_comes_out(body):
    with pytest.raises(UnusablePayload):
        parse(body)


@given(st.dictionaries(st.sampled_from(sorted(DEFAULT_FIELDS)), JSON))
def test_whatever_stands_in_the_fields_the_reasons_name_fields_only(changes):
    try:
        reasons = set() if parse(GOOD | changes).id else {"no ID"}
    except UnusablePayload as error:
        reasons = set(error.errors)

    assert reasons <= {"body", *DEFAULT_FIELDS}
