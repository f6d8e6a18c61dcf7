"""The handlers: each keeps the state of its subject. `perform` runs each of them twice, as happens in production."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from app.models import Account, ClaimedAmount, InsuranceClaim, Payment, Policy, PolicyTerms, Refund, refunded
from receiver.testing import both_databases

SET_STATES = [
    ("payment.success", Payment, {"transaction_id": "R-1"}, "paid"),
    ("payment.failed", Payment, {"transaction_id": "R-2"}, "failed"),
    ("policy.issued", Policy, {"policy_id": "R-1"}, "issued"),
    ("policy.cancelled", Policy, {"policy_id": "R-2"}, "cancelled"),
    ("claim.submitted", InsuranceClaim, {"claim_id": "R-1"}, "submitted"),
]


@both_databases
def test_each_event_type_sets_the_state_of_its_subject(perform, session):
    for event_type, _, reference, _ in SET_STATES:
        perform(event_type, **reference)

    for event_type, model, reference, status in SET_STATES:
        assert session.get(model, *reference.values()).status == status, event_type


def test_a_payment_is_kept_to_the_sen(perform, session):
    perform("payment.success", transaction_id="TXN-7", data={"amount": "99.50", "currency": "MYR"})

    payment = session.get(Payment, "TXN-7")
    assert (payment.amount, payment.currency) == (Decimal("99.50"), "MYR")


@both_databases
def test_what_was_returned_is_the_sum_of_the_refunds_however_often_each_is_reported(perform, session):
    for refund, amount in (("R-1", "0.10"), ("R-2", "0.20"), ("R-1", "0.10")):
        perform("refund.processed", transaction_id="TXN-7", data={"refund_id": refund, "amount": amount})

    assert refunded(session, "TXN-7") == Decimal("0.30")
    assert {row.status for row in session.scalars(sa.select(Refund))} == {"refunded"}


def test_refunds_of_the_same_id_and_of_two_payments_are_two(perform, session):
    for transaction, refund in (("TXN-1", "1"), ("TXN-2", "1"), ("TXN-2", "1"), ("T" * 200, "R" * 200)):
        perform("refund.processed", transaction_id=transaction, data={"refund_id": refund, "amount": "5.00"})

    assert [refunded(session, name) for name in ("TXN-1", "TXN-2", "T" * 200)] == [Decimal("5.00")] * 3


def test_a_refund_without_an_id_of_its_own_goes_by_its_event(perform, session):
    for _ in range(2):
        perform("refund.processed", transaction_id="TXN-1", data={"amount": "5.00"})

    assert refunded(session, "TXN-1") == Decimal("10.00")


def test_a_policy_keeps_its_terms_when_its_cancellation_comes_first(deliver, work, session, clock):
    deliver("policy.cancelled", policy_id="POL-1", timestamp=clock.now().isoformat(), data={})
    terms = {"product_code": "MOTOR", "starts_on": "2026-12-01", "amount": "840.20", "currency": "MYR"}
    deliver("policy.issued", policy_id="POL-1", timestamp=(clock.now() - timedelta(minutes=1)).isoformat(), data=terms)
    work()

    kept = session.get(PolicyTerms, "POL-1")
    assert session.get(Policy, "POL-1").status == "cancelled"
    assert (kept.product, kept.starts_on, kept.premium) == ("MOTOR", date(2026, 12, 1), Decimal("840.20"))


@both_databases
def test_the_name_of_the_insured_is_kept_sealed_and_on_no_page(perform, session, signed_in):
    perform("policy.issued", policy_id="POL-1", data={"product_code": "MOTOR", "customer": {"name": "Siti Zulaikha"}})

    page = signed_in().get("/subjects/policy/POL-1").text
    assert session.get(PolicyTerms, "POL-1").insured == "Siti Zulaikha"
    assert b"Zulaikha" not in session.connection().exec_driver_sql("SELECT insured FROM policy_terms").scalar_one()
    assert ("MOTOR" in page, "Zulaikha" in page) == (True, False)


def test_a_claim_keeps_the_amount_that_it_asked_for(perform, session):
    perform("claim.submitted", claim_id="CLM-1", data={"amount": 1200.5, "currency": "MYR"})
    perform("claim.updated", claim_id="CLM-1", status="approved", data={})

    assert session.get(ClaimedAmount, "CLM-1").amount == Decimal("1200.50")


AMOUNTS = [
    ("much", "not_valid"), ("-1", "negative"), ("-1e9999999", "negative"), ("0.00001", "too_exact"),
    ("99999999999999.99999", "too_exact"), ("1.0000000000000000000000000000000000000001", "too_exact"),
    ("1e-9999999", "too_exact"), ("100000000000000", "too_large"), ("1e9999999", "too_large"),
]  # fmt: skip


def test_an_amount_that_money_refuses_leaves_its_event_dead_with_a_reason(deliver, work, stored):
    for amount, _ in AMOUNTS:
        deliver("payment.success", event_id=f"evt_{amount}", data={"amount": amount})
    work()

    for amount, reason in AMOUNTS:
        row = stored(f"evt_{amount}")
        assert (row.state, row.attempts, f"amount {reason}" in row.last_error) == ("dead", 1, True), amount


def test_every_amount_that_money_takes_is_taken(perform, session):
    amounts = ["99999999999999.9999", "1.00000000", "1E+13", "0E-9999999", "0"]
    for amount in amounts:
        perform("payment.success", transaction_id=amount, data={"amount": amount})

    assert [session.get(Payment, amount).amount for amount in amounts] == [Decimal(amount) for amount in amounts]


def test_a_customer_who_is_odd_does_not_stop_the_policy(perform, session):
    for number, customer in enumerate(([], "Siti", {"name": 7})):
        perform("policy.issued", policy_id=f"POL-{number}", data={"customer": customer})

    assert [terms.insured for terms in session.scalars(sa.select(PolicyTerms))] == [None] * 3


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


def test_a_person_whose_data_is_erased_leaves_no_name_on_a_cover(environment, request):
    environment.update(SUBJECT_FIELDS="nric=data.customer.nric", SUBJECT_INDEX_KEYS="0123456789abcdef" * 4)
    perform, app, session = (request.getfixturevalue(name) for name in ("perform", "app", "session"))
    perform("policy.issued", policy_id="P-1", data={"customer": {"name": "Siti", "nric": "900101-14-5678"}})
    named = session.get(PolicyTerms, "P-1").insured
    session.rollback()

    command = ["events", "subject", "900101145678", "--erase", "--yes", "--reason", "she asked for it"]
    done = app.test_cli_runner().invoke(args=command)

    assert (done.exit_code, named, session.get(PolicyTerms, "P-1").insured) == (0, "Siti", None)
