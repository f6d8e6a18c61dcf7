"""A retry that says the same is a duplicate, however its bytes differ. What says something else is another body."""

import json

import pytest
import sqlalchemy as sa

from receiver.actions.replay import CannotReplay, replay
from receiver.maintenance.retention import purge
from receiver.protocol.json_body import parse_object, same_value
from receiver.registry import PermanentFailure, handles
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs

FIRST = (
    b'{"event_id": "evt_1", "event_type": "test.event", "timestamp": "2026-11-24T08:00:00Z", "attempt": 1,'
    b' "meta": {"sent_at": "2026-11-24T08:00:01Z", "by": "a"},'
    b' "data": {"amount": 12.50, "name": "Zoe", "list": [1, 2]}, "tries": [{"number": 1}]}'
)
SAME = {
    "white space": json.dumps(json.loads(FIRST), indent=2).encode(),
    "the order of keys": json.dumps(dict(reversed(json.loads(FIRST).items()))).encode(),
    "an escaped letter": FIRST.replace(b"Zoe", b"Zo\\u0065"),
    "a number's spelling": FIRST.replace(b"12.50", b"1.25e1"),
    "a byte order mark": b"\xef\xbb\xbf" + FIRST,
    "a counter": FIRST.replace(b'"attempt": 1', b'"attempt": 2'),
    "a counter that was not there": FIRST.replace(b' "attempt": 1,', b""),
    "a counter in a list": FIRST.replace(b'"number": 1', b'"number": 2'),
    "when it was sent": FIRST.replace(b"08:00:01Z", b"09:30:00Z"),
}
OTHER = {
    "an amount": FIRST.replace(b"12.50", b"12.51"),
    "an amount in its last digit": FIRST.replace(b"12.50", b"12.5000000000000000000000000001"),
    "text for a number": FIRST.replace(b"12.50", b'"12.50"'),
    "true for one": FIRST.replace(b"[1, 2]", b"[true, 2]"),
    "the order of a list": FIRST.replace(b"[1, 2]", b"[2, 1]"),
    "null for nothing": FIRST.replace(b'"list"', b'"more": null, "list"'),
    "a field beside a changing one": FIRST.replace(b'"by": "a"', b'"by": "b"'),
    "the moment": FIRST.replace(b"08:00:00Z", b"08:00:02Z"),
}


@pytest.fixture
def environment(environment):
    return environment | {"SENANG_CHANGING_FIELDS": "attempt,meta.sent_at,tries.number"}


@pytest.fixture
def quarantined(inbox):
    def find():
        with inbox.engine.connect() as connection:
            rows = sa.select(StoredEvent.id, StoredEvent.deliveries).where(StoredEvent.event_id.is_(None))
            return connection.execute(rows.order_by(StoredEvent.id)).all()

    return find


@both_databases
def test_a_retry_that_says_the_same_is_a_duplicate_and_leaves_no_row(sender, stored, quarantined):
    sender.deliver(FIRST)

    answers = {what: sender.deliver(body).json["status"] for what, body in SAME.items()}

    assert set(answers.values()) == {"duplicate"}
    assert (quarantined(), stored("evt_1").id_reused, stored("evt_1").deliveries) == ([], False, 1 + len(SAME))


@postgresql_and_sqlite_in_long_runs
@pytest.mark.parametrize("what", OTHER)
def test_a_body_that_says_something_else_is_quarantined(sender, stored, quarantined, what):
    sender.deliver(FIRST)

    answer = sender.deliver(OTHER[what])

    assert (answer.json["status"], len(quarantined()), stored("evt_1").id_reused) == ("duplicate", 1, True)


@postgresql_and_sqlite_in_long_runs
@pytest.mark.parametrize("what", SAME)
def test_a_retry_that_says_the_same_revives_a_dead_event(sender, work, stored, what):
    calls = []

    @handles("test.event")
    def fail(event, session):
        calls.append(event.id)
        if len(calls) == 1:
            raise PermanentFailure("not yet")

    sender.deliver(FIRST)
    work()
    sender.deliver(SAME[what])
    work()

    assert (len(calls), stored("evt_1").state) == (2, "processed")


def test_without_the_setting_a_counter_makes_another_body(environment, sender, quarantined, inbox):
    object.__setattr__(inbox.settings, "changing_fields", ())
    sender.deliver(FIRST)
    sender.deliver(SAME["a counter"])
    sender.deliver(SAME["the order of keys"])

    assert len(quarantined()) == 1


@both_databases
def test_card_authentication_data_that_is_not_stored_makes_no_other_body(sender, stored, quarantined):
    with_code = FIRST.replace(b'"name"', b'"cvv": "123", "exact": 0.10000000000000000000001, "name"')
    sender.deliver(with_code)
    sender.deliver(with_code.replace(b"123", b"321").replace(b'"attempt": 1', b'"attempt": 2'))

    assert (quarantined(), stored("evt_1").deliveries) == ([], 2)


@both_databases
def test_retries_of_another_body_are_counted_on_one_row(sender, quarantined):
    sender.deliver(FIRST)
    other = OTHER["an amount"]

    for attempt in (1, 2, 3):
        sender.deliver(other.replace(b'"attempt": 1', b'"attempt": %d' % attempt))
    sender.deliver(OTHER["text for a number"])

    assert [row.deliveries for row in quarantined()] == [3, 1]


@both_databases
def test_where_retention_erased_the_first_body_nobody_can_tell_and_the_new_one_is_kept(
    sender, work, clock, quarantined, inbox, session
):
    @handles("test.event")
    def do_nothing(event, session):
        pass

    sender.deliver(FIRST)
    work()
    clock.advance(days=91)
    purge(inbox, actor="test")

    sender.deliver(SAME["a counter"])
    identical = sender.deliver(FIRST)

    details = session.scalars(sa.select(AuditEntry.detail).where(AuditEntry.result == "quarantined: id_reused")).all()
    assert identical.json["status"] == "duplicate"
    assert len(quarantined()) == 1
    assert "nobody can tell" in details[0]


@both_databases
def test_a_released_body_that_says_what_its_twin_says_is_a_duplicate(sender, inbox, quarantined, clock):
    headers = sender.signed(SAME["a counter"]).headers
    clock.advance(minutes=6)
    assert sender.post(sender.url, SAME["a counter"], headers).status == 401  # kept as stale
    sender.deliver(FIRST)
    [stale] = quarantined()

    assert replay(inbox, stale.id, actor="test") == "duplicate"
    assert quarantined() == []


@both_databases
def test_a_released_body_that_says_something_else_stays_in_quarantine(sender, inbox, quarantined):
    sender.deliver(FIRST)
    sender.deliver(OTHER["an amount"])
    [other] = quarantined()

    with pytest.raises(CannotReplay, match="another body"):
        replay(inbox, other.id, actor="test")
    assert len(quarantined()) == 1


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("1", "1.0", True), ("-0", "0", True), ("100", "1e2", True), ("0.1", "0.10", True), ("1", '"1"', False),
        ("1", "true", False), ("0", "false", False), ("null", "0", False), ('""', "null", False), ("[]", "{}", False),
        ("9007199254740993", "9007199254740992", False), ("0.1", "0.1000000000000000055511151231257827", False),
        ("1e-400", "0", False), ("1e-99999999999999999999", "1e-99999999999999999999", True),
        ("1e-99999999999999999999", "10e-100000000000000000000", True), ("1E+99999999999999999999", "1e999", False),
        ("-1", "1", False), ("-0.0e5", "0", True), ("120", "12", False), ("0.00120", "1.2e-3", True),
        ("1e-99999999999999999999", "0", False), ('"\\ud83d\\ude00"', '"😀"', True), ('"\\ud800"', '"\\ud801"', False),
        ('{"a": 1, "b": [1, {"c": 2}]}', '{"b": [1.0, {"c": 2}], "a": 1}', True),
    ],
)  # fmt: skip
def test_values_are_compared_as_what_they_are(first, second, same):
    read = [parse_object(f'{{"x": {value}}}'.encode(), literal_numbers=True) for value in (first, second)]

    assert same_value(*read) is same
