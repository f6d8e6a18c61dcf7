"""§7 Idempotency and duplicate handling."""

import json

import pytest
import sqlalchemy as sa

from receiver.store.models import AuditEntry, StoredEvent
from receiver.store.tally import ROWS_A_MINUTE
from receiver.testing import both_databases
from tests.receiver.partner.models import ProbePayment

clause = pytest.mark.clause


@clause("7.1")
@both_databases
def test_a_second_delivery_of_an_event_is_answered_as_a_duplicate(deliver):
    deliver(event_id="evt_1", transaction_id="TXN-1", timestamp="2026-11-24T08:00:00Z", data={})

    answer = deliver(event_id="evt_1", transaction_id="TXN-1", timestamp="2026-11-24T08:00:00Z", data={})

    assert answer.status == 200
    assert answer.json == {"status": "duplicate", "event_id": "evt_1"}


@clause("7.2")
@both_databases
def test_the_database_itself_refuses_a_second_row_with_the_same_event_id(deliver, inbox):
    deliver(event_id="evt_1")

    statement = sa.insert(StoredEvent).from_select(
        ["seal_id", "event_id", "received_at", "environment", "state", "body_digest"],
        sa.select(
            StoredEvent.seal_id,
            StoredEvent.event_id,
            StoredEvent.received_at,
            StoredEvent.environment,
            StoredEvent.state,
            StoredEvent.body_digest,
        ),
    )

    with pytest.raises(sa.exc.IntegrityError), inbox.engine.begin() as connection:
        connection.execute(statement)


@clause("7.3")
@both_databases
def test_an_event_delivered_many_times_has_one_effect(sender, payload, work, session):
    sent = payload("payment.success", transaction_id="TXN-1")

    for _ in range(5):
        sender.deliver(sent)
        work()

    attempts = sa.select(sa.func.count()).select_from(AuditEntry).where(AuditEntry.action == "attempt")
    assert session.scalar(attempts) == 1
    assert session.get(ProbePayment, "TXN-1").status == "paid"


@clause("7.3")
@both_databases
def test_a_reused_event_id_with_another_body_keeps_the_first_and_quarantines_the_other(deliver, session, stored):
    deliver(event_id="evt_1", transaction_id="TXN-1")

    answer = deliver(event_id="evt_1", transaction_id="TXN-2")

    other = session.scalars(sa.select(StoredEvent).where(StoredEvent.event_id.is_(None))).one()
    assert answer.json["status"] == "duplicate"
    assert (stored("evt_1").transaction_id, stored("evt_1").id_reused) == ("TXN-1", True)
    assert (other.state, other.quarantine_reason, other.stated_event_id) == ("quarantined", "id_reused", "evt_1")


@clause("7.3")
@both_databases
@pytest.mark.usefixtures("early_in_a_minute")
def test_endless_stale_redeliveries_of_a_known_event_do_not_fill_the_audit_log(sender, payload, clock, session):
    body = json.dumps(payload(event_id="evt_1")).encode()
    headers = sender.signed(body).headers
    sender.post(sender.url, body, headers)
    clock.advance(minutes=6)

    for _ in range(50):
        sender.post(sender.url, body, headers)

    rows = session.scalars(sa.select(AuditEntry.id).where(AuditEntry.result == "rejected: stale")).all()
    assert len(rows) == ROWS_A_MINUTE
