"""Claims (§1.3, §5.1). A claim is submitted once. Then it is updated until it is closed."""

from app.models import ClaimedAmount, InsuranceClaim
from app.schemas import ClaimData
from receiver import Event, Session, advance, handles

TERMINAL = frozenset({"approved", "rejected", "paid", "closed", "withdrawn"})


@handles("claim.submitted", data=ClaimData)
def claim_submitted(event: Event, session: Session) -> None:
    """Note that the claim exists, and what it asks for."""
    advance(session, InsuranceClaim, event.claim_id, event=event, rank=0, status="submitted")
    advance(
        session, ClaimedAmount, event.claim_id, event=event, status="submitted", policy_id=event.policy_id,
        amount=event.data.get("amount"), currency=event.data.get("currency"),
    )  # fmt: skip


@handles("claim.updated", data=ClaimData)
def claim_updated(event: Event, session: Session) -> None:
    """Keep the status that Senang.io reports. Among events of the same moment, a final status wins."""
    status = (event.status or "updated")[:50]
    rank = 2 if status.lower() in TERMINAL else 1
    advance(session, InsuranceClaim, event.claim_id, event=event, rank=rank, status=status)
