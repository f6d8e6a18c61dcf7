"""Deliveries of known events are counted together, and none of them keeps another one waiting."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from receiver.database.engine import writing
from receiver.ingest.redeliveries import Redeliveries
from receiver.ingest.rows import Delivery, arrival
from receiver.protocol.kept import Kept
from receiver.store.models import AuditEntry, StoredEvent
from receiver.store.tally import ROWS_A_MINUTE
from receiver.testing import both_databases
from tests.receiver.databases import on_postgresql


@pytest.fixture
def body(payload):
    """The bytes of an event: the same ones each time, unless something is changed."""
    first = {}

    def make(event_id, **changes):
        same = first.setdefault(event_id, payload("payment.success", event_id=event_id))
        return json.dumps(same | changes).encode()

    return make


@pytest.fixture
def redelivered(inbox, body):
    """One more delivery of an event, as the committer hands it on."""

    def make(event_id, **changes):
        sent = body(event_id, **changes)
        return arrival(inbox.settings, inbox.settings.read_event(sent), Delivery(Kept(sent), "again"))

    return make


@pytest.fixture
def known(sender, body):
    """Deliver these events once."""

    def deliver(*event_ids):
        for event_id in event_ids:
            sender.deliver(body(event_id))

    return deliver


@both_databases
def test_each_delivery_of_a_group_is_counted_and_the_first_of_a_minute_have_audit_rows(
    inbox, known, redelivered, session, early_in_a_minute
):
    known("evt_1", "evt_2")
    group = [redelivered("evt_1") for _ in range(ROWS_A_MINUTE + 5)] + [redelivered("evt_2")]

    assert Redeliveries(inbox).store(group) == [True] * len(group)

    assert _deliveries(session) == {"evt_1": 1 + ROWS_A_MINUTE + 5, "evt_2": 2}
    rows = session.execute(sa.select(AuditEntry.event_id).where(AuditEntry.request_id == "again"))
    assert Counter(rows.scalars()) == {"evt_1": ROWS_A_MINUTE, "evt_2": 1}


@both_databases
def test_what_needs_more_than_a_count_is_left_to_its_own_transaction(inbox, known, redelivered, session):
    known("evt_1", "evt_2", "evt_3")
    with writing(inbox.engine) as other:
        other.execute(sa.update(StoredEvent).where(StoredEvent.event_id == "evt_2").values(state="unhandled"))
    group = [redelivered("evt_1", status="another body"), redelivered("evt_2"), redelivered("evt_3")]

    assert Redeliveries(inbox).store(group) == [False, False, True]

    assert _deliveries(session) == {"evt_1": 1, "evt_2": 1, "evt_3": 2}


@on_postgresql
def test_a_row_that_somebody_holds_for_long_costs_its_group_little_and_nothing_is_counted_twice(
    inbox, known, redelivered, session, sender, body
):
    known("evt_1", "evt_2")
    with writing(inbox.engine) as holder:
        holder.execute(sa.select(StoredEvent.id).where(StoredEvent.event_id == "evt_1").with_for_update())
        taken = Redeliveries(inbox).store([redelivered("evt_1"), redelivered("evt_2")])
        other = sender.deliver(body("evt_2"))

    assert taken == [False, False]
    assert (other.status, other.json["status"]) == (200, "duplicate")
    assert _deliveries(session) == {"evt_1": 1, "evt_2": 2}


@both_databases
def test_deliveries_that_come_at_once_are_all_answered_and_counted(sender, body, known, session):
    known("evt_1")
    again = body("evt_1")

    with ThreadPoolExecutor(40) as senders:
        answers = list(senders.map(lambda _: sender.deliver(again).json["status"], range(40)))

    assert Counter(answers) == {"duplicate": 40}
    assert _deliveries(session) == {"evt_1": 41}


def _deliveries(session):
    return dict(session.execute(sa.select(StoredEvent.event_id, StoredEvent.deliveries)).all())
