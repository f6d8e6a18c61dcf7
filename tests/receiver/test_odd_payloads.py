"""Strict about what an event is, generous about the rest: what real senders write is no reason for quarantine.

What was odd is noted with the delivery, and what can't be read is said on the page and on the command line.
"""

import json
import zlib

import pytest
import sqlalchemy as sa

from receiver.maintenance.retention import purge
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases

ODD = [
    ({"data": []}, "data not_an_object"),
    ({"claim_id": ""}, "claim_id empty"),
    ({"policy_id": False}, "policy_id not_text"),
    ({"status": True}, "status not_text"),
    ({"status": "x" * 500}, "status too_long"),
    ({"status": []}, "status not_text"),
    ({"data": [[]]}, "data not_an_object"),
    ({"data": [None, {"items": []}]}, "data not_an_object"),
    ({"policy_id": {"id": None}}, "policy_id not_text"),
    ({"claim_id": [[], ""]}, "claim_id not_text"),
]


@both_databases
def test_an_optional_field_that_is_odd_does_not_quarantine_the_event_and_is_noted(perform, session, signed_in):
    rows = [perform("payment.success", event_id=f"evt_{number}", **changes) for number, (changes, _) in enumerate(ODD)]

    client, accepted = signed_in(), sa.select(AuditEntry.event_id, AuditEntry.detail)
    details = dict(session.execute(accepted.where(AuditEntry.result == "accepted")).all())
    pages = {row.event_id: client.get(f"/events/{row.id}").text for row in rows}
    expected = {row.event_id: noted for row, (_, noted) in zip(rows, ODD, strict=True)}
    assert {event_id: details[event_id] for event_id, noted in expected.items() if noted not in details[event_id]} == {}
    assert [noted for event_id, noted in expected.items() if noted not in pages[event_id]] == []


@both_databases
def test_a_usual_event_has_no_such_note(deliver, session):
    deliver()

    assert session.scalar(sa.select(AuditEntry.detail).where(AuditEntry.result == "accepted")) is None


@both_databases
def test_a_number_with_a_fraction_as_a_reference_is_its_text_for_the_row_and_for_the_handler(
    sender, payload, work, stored
):
    body = json.dumps(payload("policy.issued", event_id="evt_1", policy_id=0)).replace(
        '"policy_id": 0', '"policy_id": 7.10'
    )
    sender.deliver(body.encode())
    work()

    assert (stored("evt_1").policy_id, stored("evt_1").state) == ("7.10", "processed")


@pytest.mark.parametrize("changes", [{"data": [0]}, {"data": [False]}, {"policy_id": {"id": "POL-1"}}])
def test_a_list_or_an_object_that_says_something_is_never_taken_as_absent(deliver, changes):
    assert deliver(**changes).json["status"] == "quarantined"


def test_a_number_of_more_digits_than_can_be_read_is_said_to_be_one(sender, payload):
    body = json.dumps(payload() | {"status": 0}).replace('"status": 0', f'"status": {"9" * 5000}')

    assert sender.deliver(body.encode()).json["errors"] == {"body": ["number_too_long"]}


@pytest.mark.parametrize("level", [1, 3, 6, 9])
def test_a_body_that_is_deflated_at_any_level_is_said_to_be(sender, payload, level):
    body = zlib.compress(json.dumps(payload()).encode(), level)

    assert sender.deliver(body).json["errors"] == {"body": ["deflate"]}


@both_databases
def test_a_body_with_a_byte_order_mark_is_an_event(sender, payload, work, stored):
    body = b"\xef\xbb\xbf" + json.dumps(payload("payment.success", event_id="evt_1")).encode()

    assert sender.deliver(body).json["status"] == "accepted"
    work()
    assert stored("evt_1").state == "processed"


@both_databases
def test_a_compressed_body_is_kept_and_said_to_be_one_until_it_is_erased(
    app, sender, payload, session, signed_in, clock, inbox
):
    answer = sender.deliver(zlib.compress(json.dumps(payload()).encode()))
    row = session.scalars(sa.select(StoredEvent)).one()
    client, runner = signed_in(), app.test_cli_runner()

    page = client.get(f"/events/{row.id}").text
    shown = json.loads(runner.invoke(args=["events", "show", f"#{row.id}", "--json"]).output)
    clock.advance(days=8)
    purge(inbox, actor="test")
    later = signed_in().get(f"/events/{row.id}")

    assert answer.json == {"status": "quarantined", "errors": {"body": ["deflate"]}}
    assert "compressed (deflate)" in page
    assert "in 6 days" in page
    assert (shown["errors"], "compressed" in shown["advice"]) == ({"body": ["deflate"]}, True)
    assert shown["kept_until"][:10] == str(row.received_at.date().fromordinal(row.received_at.toordinal() + 7))
    assert later.status_code == 200
    assert "compressed" not in later.text
