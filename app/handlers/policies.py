"""Policies (§1.3, §5.1): a cover begins and ends."""

from app.models import Policy
from receiver import Event, Session, advance, handles


@handles("policy.issued")
def policy_issued(event: Event, session: Session) -> None:
    """Note that the cover has begun. Set a state, never add to one: the event may come again, and in any order."""
    advance(session, Policy, event.policy_id, status="issued", rank=1, event=event)


@handles("policy.cancelled")
def policy_cancelled(event: Event, session: Session) -> None:
    """Note that the cover has ended. Among events of the same moment, cancelled wins."""
    advance(session, Policy, event.policy_id, status="cancelled", rank=2, event=event)
