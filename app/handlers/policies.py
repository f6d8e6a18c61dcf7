"""Policies (§1.3, §5.1): cover that begins and ends."""

from app.models import Policy
from receiver import Event, Session, advance, handles


@handles("policy.issued")
def policy_issued(event: Event, session: Session) -> None:
    """Set a state, never add to one. Newer events win, whatever order they come in."""
    advance(session, Policy, event.policy_id, status="issued", rank=1, event=event)


@handles("policy.cancelled")
def policy_cancelled(event: Event, session: Session) -> None:
    """A cancelled policy stays cancelled among events of the same moment."""
    advance(session, Policy, event.policy_id, status="cancelled", rank=2, event=event)
