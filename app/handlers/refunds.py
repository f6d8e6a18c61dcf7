"""Refunds (§1.3, §5.1). A payment may be returned in parts, so each refund has a row of its own."""

from app.models import Refund
from app.schemas import RefundData
from receiver import Event, PermanentFailure, Session, advance, handles


@handles("refund.processed", data=RefundData)
def refund_processed(event: Event, session: Session) -> None:
    """Note one refund. Its ID is the key, or the event's where it has none: the same refund is never counted twice."""
    if event.transaction_id is None:
        raise PermanentFailure("refund.processed without the transaction that it returns")
    advance(
        session, Refund, event.data.get("refund_id") or event.id, event=event, rank=1, status="refunded",
        transaction_id=event.transaction_id, amount=event.data.get("amount"), currency=event.data.get("currency"),
    )  # fmt: skip
