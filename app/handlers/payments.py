"""Payments (§1.3, §5.1)."""

from app.models import Payment
from receiver import Event, Session, advance, handles


@handles("payment.success")
def payment_success(event: Event, session: Session) -> None:
    """Note that the money arrived. For the same moment, this wins over a failure: the rank is higher."""
    advance(session, Payment, event.transaction_id, status="paid", rank=2, event=event)


@handles("payment.failed")
def payment_failed(event: Event, session: Session) -> None:
    """Note that the money did not arrive. A success may still come later."""
    advance(session, Payment, event.transaction_id, status="failed", rank=1, event=event)
