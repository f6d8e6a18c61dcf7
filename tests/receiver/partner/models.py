"""Tables that the engine's tests look into, and what the pages say of a subject."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from receiver import Base, SealedText, Session, Tracked, describes


class ProbePayment(Tracked, Base):
    """A payment, by its transaction ID."""

    __tablename__ = "probe_payments"


class ProbePolicy(Tracked, Base):
    """A cover, by its policy ID."""

    __tablename__ = "probe_policies"


class ProbeRefund(Tracked, Base):
    """A refund, by the transaction it returns."""

    __tablename__ = "probe_refunds"


class ProbeClaim(Tracked, Base):
    """A claim on a policy, by its claim ID."""

    __tablename__ = "probe_claims"


class ProbeTopic(Tracked, Base):
    """The state of what has no subject, by topic."""

    __tablename__ = "probe_topics"


class ProbePerson(Tracked, Base):
    """A person, by the policy ID, whose name nobody may read in the database."""

    __tablename__ = "probe_people"

    name: Mapped[str | None] = mapped_column(SealedText)
    address: Mapped[str | None] = mapped_column(SealedText)


class ProbeNote(Base):
    """A note, by the number that the database gives it."""

    __tablename__ = "probe_notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str] = mapped_column(SealedText)
    about: Mapped[str | None] = mapped_column(sa.String(50))


class ProbeShare(Base):
    """Who gets a part of a payout, by policy and number. `heir` is a column that was once called `holder`."""

    __tablename__ = "probe_shares"

    policy_id: Mapped[str] = mapped_column(sa.String(50), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    holder: Mapped[str | None] = mapped_column(SealedText)
    heir: Mapped[str | None] = mapped_column(SealedText(bound_to="probe_shares.holder"))


@describes("policy", "Policy")
def describe_policy(session: Session, reference: str) -> dict[str, object] | None:
    """The cover, for the page of its policy."""
    return _state(session.get(ProbePolicy, reference))


@describes("transaction", "Payment")
def describe_payment(session: Session, reference: str) -> dict[str, object] | None:
    """The payment, for the page of its transaction."""
    return _state(session.get(ProbePayment, reference))


@describes("transaction", "Refund")
def describe_refund(session: Session, reference: str) -> dict[str, object] | None:
    """The refund, for the page of the transaction that it returns."""
    return _state(session.get(ProbeRefund, reference))


@describes("claim", "Claim")
def describe_claim(session: Session, reference: str) -> dict[str, object] | None:
    """The claim, for its page."""
    return _state(session.get(ProbeClaim, reference))


def _state(row: Tracked | None) -> dict[str, object] | None:
    return None if row is None else {"status": row.status, "since": row.occurred_at, "by event": row.event_id}
