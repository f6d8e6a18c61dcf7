"""Payments (§1.3, §5.1)."""

from decimal import Decimal
from typing import Any

from app.handlers import core_system, receipts
from app.models import Payment
from app.schemas import PaymentData, customer_text
from receiver import Event, Session, advance, follow_up, handles


@handles("payment.success", data=PaymentData)
def payment_success(event: Event, session: Session) -> None:
    """Note that the money arrived. For the same moment, this wins over a failure: the rank is higher.

    Each event asks for follow-ups of its own: two successes of one transaction bring two, each with its own key.
    """
    money = _money(event)
    advance(
        session, Payment, event.transaction_id, event=event, rank=2, status="paid", paid_at=event.occurred_at, **money
    )
    told, email = _told(**money), customer_text(event.data, "email")
    if receipts.are_on() and email and told.keys() == {"amount", "currency"}:
        follow_up(session, event, "receipt.send", {"to": email, **told})
    if core_system.is_on():
        follow_up(session, event, "core.payment", told)


@handles("payment.failed", data=PaymentData)
def payment_failed(event: Event, session: Session) -> None:
    """Note that the money did not arrive. A success may still come later."""
    advance(session, Payment, event.transaction_id, event=event, rank=1, status="failed", paid_at=None, **_money(event))


def _money(event: Event) -> dict[str, Any]:
    data = event.data
    return {"amount": data.get("amount"), "currency": data.get("currency"), "method": data.get("payment_method")}


def _told(amount: Decimal | None, currency: str | None, **_other: Any) -> dict[str, str]:
    """What others hear of the money, as far as it is known. No amount has an exponent."""
    written = None if amount is None else f"{amount or Decimal(0):f}"  # a zero may have millions of decimals
    return {name: text for name, text in (("amount", written), ("currency", currency)) if text}
