"""The handlers, each run twice by `perform`, and the rule that order doesn't matter."""

from itertools import permutations

import pytest

from app.handlers.models import Account, InsuranceClaim, Payment, Policy, Refund
from tests.databases import both_databases


@pytest.mark.parametrize(
    ("event_type", "model", "reference", "status"),
    [
        ("payment.success", Payment, {"transaction_id": "R-1"}, "paid"),
        ("payment.failed", Payment, {"transaction_id": "R-1"}, "failed"),
        ("policy.issued", Policy, {"policy_id": "R-1"}, "issued"),
        ("policy.cancelled", Policy, {"policy_id": "R-1"}, "cancelled"),
        ("refund.processed", Refund, {"transaction_id": "R-1"}, "refunded"),
        ("claim.submitted", InsuranceClaim, {"claim_id": "R-1"}, "submitted"),
    ],
)
@both_databases
def test_each_event_type_sets_the_state_of_its_subject(perform, session, event_type, model, reference, status):
    perform(event_type, **reference)

    assert session.get(model, "R-1").status == status


@both_databases
def test_claim_updated_takes_the_status_that_is_reported(perform, session):
    perform("claim.updated", claim_id="CLM-1", status="approved")

    assert session.get(InsuranceClaim, "CLM-1").status == "approved"


@pytest.mark.parametrize(
    ("event_type", "topic"), [("account.updated", "account"), ("onboarding.completed", "onboarding")]
)
def test_account_and_onboarding_events_keep_the_latest_status(perform, session, event_type, topic):
    perform(event_type, status="verified")

    assert session.get(Account, topic).status == "verified"


def test_all_orders_of_one_policys_five_events_end_in_the_same_state(sender, payload, work, session):
    ends = set()
    for number, order in enumerate(permutations(range(5))):
        policy = f"POL-{number}"
        for step in order:
            event_type = "policy.cancelled" if step in (3, 4) else "policy.issued"
            moment = f"2026-11-0{min(step, 3) + 1}T00:00:00Z"
            sender.deliver(payload(event_type, event_id=f"{policy}-{step}", policy_id=policy, timestamp=moment))
    work()

    for number in range(120):
        row = session.get(Policy, f"POL-{number}")
        ends.add((row.status, row.occurred_at, row.event_id.rpartition("-")[2]))

    assert len(ends) == 1
    assert ends.pop()[0] == "cancelled"


def test_an_event_dated_in_the_future_does_not_freeze_the_row(perform, session):
    perform("policy.issued", policy_id="POL-1", timestamp="2999-01-01T00:00:00Z")

    perform("policy.cancelled", policy_id="POL-1", timestamp="2999-01-02T00:00:00Z")

    assert session.get(Policy, "POL-1").status == "cancelled"
    assert session.get(Policy, "POL-1").occurred_at.year < 2999


def test_an_event_without_the_reference_that_its_handler_needs_is_dead_at_once(deliver, work, stored):
    deliver("policy.issued", event_id="evt_1", policy_id=None)
    work()

    row = stored("evt_1")
    assert (row.state, row.attempts) == ("dead", 1)
    assert "reference" in row.last_error
