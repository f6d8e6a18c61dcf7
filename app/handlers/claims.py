"""Claims (§1.3, §5.1). A claim is submitted once. Then it is updated until it is closed."""

from app.models import InsuranceClaim
from receiver import Event, Session, advance, handles

TERMINAL = frozenset({"approved", "rejected", "paid", "closed", "withdrawn"})


@handles("claim.submitted")
def claim_submitted(event: Event, session: Session) -> None:
    """Note that the claim exists."""
    advance(session, InsuranceClaim, event.claim_id, status="submitted", rank=0, event=event)


@handles("claim.updated")
def claim_updated(event: Event, session: Session) -> None:
    """Keep the status that Senang.io reports. Among events of the same moment, a final status wins."""
    status = (event.status or "updated")[:50]
    rank = 2 if status.lower() in TERMINAL else 1
    advance(session, InsuranceClaim, event.claim_id, status=status, rank=rank, event=event)
