"""Refunds (§1.3, §5.1). A payment may be returned in parts, so each refund has a row of its own."""

import json
from hashlib import sha256

from app.models import Refund
from app.schemas import RefundData
from receiver import Event, PermanentFailure, Session, advance, handles


@handles("refund.processed", data=RefundData)
def refund_processed(event: Event, session: Session) -> None:
    """Note one refund. The same refund is never counted twice. Without an ID of its own, it goes by its event's."""
    if event.transaction_id is None:
        raise PermanentFailure("refund.processed without the transaction that it returns")
    refund_id = event.data.get("refund_id")
    key = _key(event.transaction_id, refund_id) if refund_id else event.id
    advance(
        session, Refund, key, event=event, rank=1, status="refunded",
        transaction_id=event.transaction_id, amount=event.data.get("amount"), currency=event.data.get("currency"),
    )  # fmt: skip


def _key(transaction_id: str, refund_id: str) -> str:
    """Both together are longer than a key may be, and two payments may each have a refund "1"."""
    return sha256(json.dumps([transaction_id, refund_id]).encode()).hexdigest()
