"""The handlers: each keeps the state of its subject. `perform` runs each of them twice, as happens in production."""

from datetime import timedelta

import pytest

from app.models import Account, InsuranceClaim, Payment, Policy, Refund
from receiver.testing import both_databases

SET_STATES = [
    ("payment.success", Payment, {"transaction_id": "R-1"}, "paid"),
    ("payment.failed", Payment, {"transaction_id": "R-2"}, "failed"),
    ("policy.issued", Policy, {"policy_id": "R-1"}, "issued"),
    ("policy.cancelled", Policy, {"policy_id": "R-2"}, "cancelled"),
    ("refund.processed", Refund, {"transaction_id": "R-1"}, "refunded"),
    ("claim.submitted", InsuranceClaim, {"claim_id": "R-1"}, "submitted"),
]


@both_databases
def test_each_event_type_sets_the_state_of_its_subject(perform, session):
    for event_type, _, reference, _ in SET_STATES:
        perform(event_type, **reference)

    for event_type, model, reference, status in SET_STATES:
        assert session.get(model, *reference.values()).status == status, event_type


def test_claim_updated_takes_the_status_that_is_reported(perform, session):
    perform("claim.updated", claim_id="CLM-1", status="approved")

    assert session.get(InsuranceClaim, "CLM-1").status == "approved"


@pytest.mark.parametrize(
    ("event_type", "topic"), [("account.updated", "account"), ("onboarding.completed", "onboarding")]
)
def test_account_and_onboarding_events_keep_the_latest_status(perform, session, event_type, topic):
    perform(event_type, status="verified")

    assert session.get(Account, topic).status == "verified"


def test_a_cancelled_policy_stays_cancelled_when_its_issue_comes_late(deliver, work, session, clock):
    cancelled, issued = clock.now(), clock.now() - timedelta(minutes=1)
    deliver("policy.cancelled", policy_id="POL-1", timestamp=cancelled.isoformat())
    deliver("policy.issued", policy_id="POL-1", timestamp=issued.isoformat())
    work()

    assert session.get(Policy, "POL-1").status == "cancelled"


def test_a_claim_that_is_settled_stays_so_among_events_of_the_same_moment(deliver, work, session, clock):
    moment = clock.now().isoformat()
    for status in ("Paid", "in review"):
        deliver("claim.updated", claim_id="CLM-1", status=status, timestamp=moment)
    work()

    assert session.get(InsuranceClaim, "CLM-1").status == "Paid"
