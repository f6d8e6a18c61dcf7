"""Your tables, and what the pages show about a policy, a transaction or a claim.

After a change here, run `flask --app wsgi db migrate -m "what changed"`. Read the file that it wrote. Then run
`flask --app wsgi db upgrade`.
"""

from receiver import Base, Session, Tracked, describes


class Payment(Tracked, Base):
    """A payment, by its transaction ID."""

    __tablename__ = "payments"


class Policy(Tracked, Base):
    """A cover, by its policy ID."""

    __tablename__ = "policies"


class Refund(Tracked, Base):
    """A refund, by the ID of the transaction that it returns."""

    __tablename__ = "refunds"


class InsuranceClaim(Tracked, Base):
    """A claim on a policy, by its claim ID."""

    __tablename__ = "insurance_claims"


class Account(Tracked, Base):
    """The state of your account with Senang.io, by topic: `account` or `onboarding`."""

    __tablename__ = "accounts"


@describes("policy", "Policy")
def describe_policy(session: Session, reference: str) -> dict[str, object] | None:
    """The cover, for the page of its policy."""
    return _state(session.get(Policy, reference))


@describes("transaction", "Payment")
def describe_payment(session: Session, reference: str) -> dict[str, object] | None:
    """The payment, for the page of its transaction."""
    return _state(session.get(Payment, reference))


@describes("transaction", "Refund")
def describe_refund(session: Session, reference: str) -> dict[str, object] | None:
    """The refund, for the page of the transaction that it returns."""
    return _state(session.get(Refund, reference))


@describes("claim", "Claim")
def describe_claim(session: Session, reference: str) -> dict[str, object] | None:
    """The claim, for its page."""
    return _state(session.get(InsuranceClaim, reference))


def _state(row: Tracked | None) -> dict[str, object] | None:
    return None if row is None else {"status": row.status, "since": row.occurred_at, "by event": row.event_id}
