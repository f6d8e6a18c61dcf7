"""Payments (§1.3, §5.1): money that arrived, or did not."""

from app.models import Payment
from receiver import Event, Session, advance, handles


@handles("payment.success")
def payment_success(event: Event, session: Session) -> None:
    """The money is there."""
    advance(session, Payment, event.transaction_id, status="paid", rank=2, event=event)


@handles("payment.failed")
def payment_failed(event: Event, session: Session) -> None:
    """The money is not there; a later success may still come."""
    advance(session, Payment, event.transaction_id, status="failed", rank=1, event=event)
