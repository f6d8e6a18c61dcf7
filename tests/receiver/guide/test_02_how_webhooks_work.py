"""§2 How webhooks work."""

import pytest

from receiver.config import DELIVERY_SECONDS
from receiver.testing import both_databases

clause = pytest.mark.clause


@clause("2.1")
@both_databases
def test_a_signed_post_is_accepted(deliver):
    answer = deliver("payment.success", event_id="evt_1")

    assert (answer.status, answer.json) == (200, {"status": "accepted", "event_id": "evt_1"})


@clause("2.2")
@both_databases
def test_everything_the_payload_holds_is_kept(deliver, stored):
    deliver(
        "policy.issued",
        event_id="evt_1",
        timestamp="2026-11-24T16:00:00+08:00",
        transaction_id="TXN-1",
        policy_id="POL-1",
        status="active",
    )

    row = stored("evt_1")
    assert (row.event_type, row.transaction_id, row.policy_id, row.reported_status) == (
        "policy.issued",
        "TXN-1",
        "POL-1",
        "active",
    )
    assert row.occurred_at.isoformat() == "2026-11-24T08:00:00+00:00"


@clause("2.3")
@both_databases
def test_an_acknowledged_event_is_in_the_database_before_the_answer(deliver, stored):
    answer = deliver("payment.success", event_id="evt_1")

    assert answer.status == 200
    assert stored("evt_1").state == "pending"


@clause("2.4")
def test_a_delivery_that_cannot_be_stored_is_answered_503_so_that_it_comes_again(deliver, inbox):
    with inbox.engine.execution_options(sqlite_begin="EXCLUSIVE").begin():
        answer = deliver("payment.success")

    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert DELIVERY_SECONDS < 3
