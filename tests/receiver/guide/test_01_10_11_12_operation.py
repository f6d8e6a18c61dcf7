"""§1 Overview, §10 Suspension, §11 Changes, §12 Support: what they ask of an operation."""

import json

import pytest
import sqlalchemy as sa

from receiver.actions.replay import CannotReplay, replay
from receiver.protocol.envelope import fields_from
from receiver.sandbox.samples import TYPES
from receiver.store.models import Observation, StoredEvent
from receiver.testing import both_databases

clause = pytest.mark.clause


@clause("1.3")
@both_databases
def test_each_kind_of_event_of_the_overview_has_a_handler(perform):
    assert {perform(event_type).state for event_type in TYPES} == {"processed"}


@clause("10.1")
@both_databases
def test_nothing_authentic_ever_makes_the_endpoint_fail(sender, payload):
    bodies = [payload("payment.success"), payload("new.type"), b"garbage", b"[]", b"\xff", payload(event_id=None)]

    assert {sender.deliver(body).status for body in bodies} == {200}


@clause("11.1")
@both_databases
def test_a_changed_structure_is_quarantined_and_replayed_once_the_mapping_is_fixed(
    sender, payload, inbox, session, work
):
    changed = payload("payment.success", event_id="evt 9") | {"meta": {"id": "evt_9"}}
    sender.deliver(changed)
    row_id = session.scalars(sa.select(StoredEvent.id)).one()
    with pytest.raises(CannotReplay, match="event_id"):
        replay(inbox, row_id, actor="test")

    object.__setattr__(inbox.settings, "payload_fields", fields_from("event_id=meta.id"))
    result = replay(inbox, row_id, actor="test")
    work()

    session.rollback()
    row = session.get(StoredEvent, row_id)
    assert (result, row.event_id, row.state) == ("due again", "evt_9", "processed")


@clause("11.1")
@both_databases
def test_fields_seen_for_the_first_time_are_noted(deliver, work, session):
    deliver("payment.success", data={"brand_new_field": 1})
    work()

    assert session.get(Observation, ("field", "data.brand_new_field"))


@clause("12.2")
@both_databases
def test_show_gives_what_a_support_request_needs_with_personal_data_masked(app, deliver, work):
    deliver("payment.success", event_id="evt_1", data={"customer": {"nric": "900101-14-5678"}, "amount": "12.50"})
    work()

    shown = json.loads(app.test_cli_runner().invoke(args=["events", "show", "evt_1", "--json"]).output)

    assert shown["event_id"] == "evt_1"
    assert shown["received_at"]
    assert shown["masked_payload"]["data"] == {"customer": {"nric": "[text 14]"}, "amount": "12.50"}
