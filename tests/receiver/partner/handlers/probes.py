"""Handlers for all published types: each keeps the state of a subject, so that a test can see that it ran."""

from receiver import Event, Session, advance, handles
from tests.receiver.partner.models import ProbeClaim, ProbePayment, ProbePolicy, ProbeRefund, ProbeTopic


@handles("payment.success")
def payment_success(event: Event, session: Session) -> None:
    advance(session, ProbePayment, event.transaction_id, status="paid", rank=2, event=event)


@handles("payment.failed")
def payment_failed(event: Event, session: Session) -> None:
    advance(session, ProbePayment, event.transaction_id, status="failed", rank=1, event=event)


@handles("policy.issued")
def policy_issued(event: Event, session: Session) -> None:
    advance(session, ProbePolicy, event.policy_id, status="issued", rank=1, event=event)


@handles("policy.cancelled")
def policy_cancelled(event: Event, session: Session) -> None:
    advance(session, ProbePolicy, event.policy_id, status="cancelled", rank=2, event=event)


@handles("refund.processed")
def refund_processed(event: Event, session: Session) -> None:
    advance(session, ProbeRefund, event.transaction_id, status="refunded", rank=1, event=event)


@handles("claim.submitted")
def claim_submitted(event: Event, session: Session) -> None:
    advance(session, ProbeClaim, event.claim_id, status="submitted", rank=0, event=event)


@handles("claim.updated")
def claim_updated(event: Event, session: Session) -> None:
    advance(session, ProbeClaim, event.claim_id, status=(event.status or "updated")[:50], rank=1, event=event)


@handles("account.*", "onboarding.*")
def account_updated(event: Event, session: Session) -> None:
    topic = event.type.partition(".")[0]
    advance(session, ProbeTopic, topic, status=(event.status or event.type)[:50], event=event)
