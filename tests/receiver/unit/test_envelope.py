"""What a payload says, and what makes it unusable."""

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.protocol.envelope import DEFAULT_FIELDS, changing_from, fields_from, parse_event
from receiver.protocol.errors import InvalidScheme, UnusablePayload

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
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", {"body": ["not_json"]}),
        (gzip.compress(b"{}", mtime=0), {"body": ["gzip"]}),
        (zlib.compress(b"{}" * 99), {"body": ["deflate"]}),
        (b"\x28\xb5\x2f\xfd\x04", {"body": ["zstd"]}),
        (b"", {"body": ["not_json"]}),
        (b"[]", {"body": ["not_an_object"]}),
        (b'{"a":1,"a":2}', {"body": ["duplicate_key"]}),
        (b'{"a":{"b":1,"b":1}}', {"body": ["duplicate_key"]}),
        (b'{"a":NaN}', {"body": ["not_a_finite_number"]}),
        (b'{"a":1e400}', {"body": ["not_a_finite_number"]}),
        (b'{"a":' + b"9" * 5000 + b"}", {"body": ["number_too_long"]}),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", {"body": ["too_deep"]}),
        (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", {"body": ["too_deep"]}),
        (GOOD | {"event_id": None}, {"event_id": ["missing"]}),
        (GOOD | {"event_id": True}, {"event_id": ["not_text"]}),
        (GOOD | {"event_id": 1.5}, {"event_id": ["not_text"]}),
        (GOOD | {"event_id": "a b"}, {"event_id": ["not_printable_ascii"]}),
        (GOOD | {"event_id": "x" * 201}, {"event_id": ["too_long"]}),
        (GOOD | {"event_id": ""}, {"event_id": ["empty"]}),
        (GOOD | {"event_type": " "}, {"event_type": ["empty"]}),
        (GOOD | {"event_type": False}, {"event_type": ["not_text"]}),
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


def test_a_byte_order_mark_changes_nothing():
    assert parse(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()).id == "evt_1"


@pytest.mark.parametrize("name", ["transaction_id", "policy_id", "claim_id", "status"])
@pytest.mark.parametrize(
    ("literal", "counts_as"),
    [
        ('""', None), ('"  "', None), ("[]", None), ("{}", None), ("true", "true"), ("false", "false"),
        ("12.50", "12.50"), ("1e2", "1e2"), ('"\\ud800"', None), ('"a\\u0000b"', None), ('"a\\nb"', None),
        (f'"{"x" * 201}"', None), ("9" * 201, None), (f"0.{'0' * 300}1", None),
    ],
)  # fmt: skip
def test_an_optional_field_that_is_odd_counts_as_absent_or_as_its_text_and_is_named(name, literal, counts_as):
    event = parse(json.dumps(GOOD).encode()[:-1] + f', "{name}": {literal}}}'.encode())

    assert getattr(event, name) == counts_as
    assert set(event.odd) == {name}


@pytest.mark.parametrize("empty", [[], "", False, 0])
def test_empty_data_is_an_empty_object_however_it_is_written(empty):
    event = parse(GOOD | {"data": empty})

    assert (event.data, event.odd, event.payload["data"]) == ({}, {"data": "not_an_object"}, empty)


def test_what_is_as_it_should_be_is_not_called_odd():
    assert parse(GOOD | {"policy_id": 7, "status": "paid", "claim_id": None, "data": {}}).odd == {}


@pytest.mark.parametrize(
    "text", ["event_id", "event_type", "policy_id", "data", "a..b", "attempt,event_id", "attempt,.x"]
)
def test_a_path_that_holds_what_the_event_is_can_not_be_called_changing(text):
    with pytest.raises(InvalidScheme):
        changing_from(text, DEFAULT_FIELDS)


def test_an_object_that_holds_what_the_event_is_can_not_be_called_changing_either():
    mapping = fields_from("event_id=meta.about.id,timestamp=sent.at")

    for path in ("meta", "meta.about", "meta.about.id"):
        with pytest.raises(InvalidScheme, match="event_id"):
            changing_from(path, mapping)
    assert changing_from(" attempt, meta.attempt ,sent", mapping) == ("attempt", "meta.attempt", "sent")


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
