"""Policies (§1.3, §5.1): a cover begins and ends."""

from app.models import Policy, PolicyTerms
from app.schemas import PolicyData, customer_text
from receiver import Event, Session, advance, handles


@handles("policy.issued", data=PolicyData)
def policy_issued(event: Event, session: Session) -> None:
    """Note that the cover has begun, and its terms. Set a state, never add to one: the event may come again."""
    data = event.data
    advance(session, Policy, event.policy_id, event=event, rank=1, status="issued")
    advance(
        session, PolicyTerms, event.policy_id, event=event, status="issued", product=data.get("product_code"),
        starts_on=data.get("starts_on"), ends_on=data.get("ends_on"), premium=data.get("amount"),
        currency=data.get("currency"), insured=customer_text(data, "name"),
    )  # fmt: skip


@handles("policy.cancelled", data=PolicyData)
def policy_cancelled(event: Event, session: Session) -> None:
    """Note that the cover has ended. Among events of the same moment, cancelled wins."""
    advance(session, Policy, event.policy_id, event=event, rank=2, status="cancelled")
