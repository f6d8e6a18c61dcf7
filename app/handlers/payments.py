"""Payments (§1.3, §5.1)."""

from typing import Any

from app.handlers import core_system, receipts
from app.models import Payment
from app.schemas import PaymentData
from receiver import Event, Session, advance, follow_up, handles


@handles("payment.success", data=PaymentData)
def payment_success(event: Event, session: Session) -> None:
    """Note that the money arrived. For the same moment, this wins over a failure: the rank is higher."""
    money = _money(event)
    advance(
        session, Payment, event.transaction_id, event=event, rank=2, status="paid", paid_at=event.occurred_at, **money
    )
    paid = {"amount": money["amount"], "currency": money["currency"]}
    email = (event.data.get("customer") or {}).get("email")
    if receipts.are_on() and email:
        follow_up(session, event, "receipt.send", {"to": email, **paid})
    if core_system.is_on():
        follow_up(session, event, "core.payment", paid)


@handles("payment.failed", data=PaymentData)
def payment_failed(event: Event, session: Session) -> None:
    """Note that the money did not arrive. A success may still come later."""
    advance(session, Payment, event.transaction_id, event=event, rank=1, status="failed", paid_at=None, **_money(event))


def _money(event: Event) -> dict[str, Any]:
    data = event.data
    return {"amount": data.get("amount"), "currency": data.get("currency"), "method": data.get("payment_method")}
