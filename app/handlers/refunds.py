"""Refunds (§1.3, §5.1)."""

from sqlalchemy.orm import Session

from app.handlers.models import Refund, advance
from app.protocol.envelope import Event
from app.registry import handles


@handles("refund.processed")
def refund_processed(event: Event, session: Session) -> None:
    """The money went back."""
    advance(session, Refund, event.transaction_id, status="refunded", rank=1, event=event)
