"""Refunds (§1.3, §5.1)."""

from app.models import Refund
from receiver import Event, Session, advance, handles


@handles("refund.processed")
def refund_processed(event: Event, session: Session) -> None:
    """Note that the money went back."""
    advance(session, Refund, event.transaction_id, status="refunded", rank=1, event=event)
