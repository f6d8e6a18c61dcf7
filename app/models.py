"""Your tables, what the pages show about a policy, a transaction or a claim, and what goes with a person's data.

After a change here, run `flask --app wsgi db migrate -m "what changed"`. Read the file that it wrote. Then run
`flask --app wsgi db upgrade`.
"""

from datetime import date, datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from receiver import Base, Event, Money, SealedText, Session, Tracked, UtcDateTime, describes, erases


class Payment(Tracked, Base):
    """A payment, by its transaction ID."""

    __tablename__ = "payments"

    amount: Mapped[Decimal | None] = mapped_column(Money)
    currency: Mapped[str | None] = mapped_column(sa.String(3))
    method: Mapped[str | None] = mapped_column(sa.String(50))
    paid_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Refund(Tracked, Base):
    """One refund of a payment. A payment may have several: what was returned is the sum of them, `refunded()`."""

    __tablename__ = "refunds"

    transaction_id: Mapped[str | None] = mapped_column(sa.String(200), index=True)
    amount: Mapped[Decimal | None] = mapped_column(Money)
    currency: Mapped[str | None] = mapped_column(sa.String(3))


class Policy(Tracked, Base):
    """Whether a cover is in force, by its policy ID."""

    __tablename__ = "policies"


class PolicyTerms(Tracked, Base):
    """What a cover holds, by its policy ID. Only `policy.issued` says it, so it has a row of its own."""

    __tablename__ = "policy_terms"

    product: Mapped[str | None] = mapped_column(sa.String(50))
    starts_on: Mapped[date | None] = mapped_column()
    ends_on: Mapped[date | None] = mapped_column()
    premium: Mapped[Decimal | None] = mapped_column(Money)
    currency: Mapped[str | None] = mapped_column(sa.String(3))
    insured: Mapped[str | None] = mapped_column(SealedText)  # a name: encrypted, and on no page


class InsuranceClaim(Tracked, Base):
    """How far a claim is, by its claim ID."""

    __tablename__ = "insurance_claims"


class ClaimedAmount(Tracked, Base):
    """What a claim asks for, by its claim ID. Only `claim.submitted` says it."""

    __tablename__ = "claimed_amounts"

    policy_id: Mapped[str | None] = mapped_column(sa.String(200))
    amount: Mapped[Decimal | None] = mapped_column(Money)
    currency: Mapped[str | None] = mapped_column(sa.String(3))


class Account(Tracked, Base):
    """The state of your account with Senang.io, by topic: `account` or `onboarding`."""

    __tablename__ = "accounts"


def refunded(session: Session, transaction_id: str) -> Decimal:
    """What was returned of a payment. A sum over rows is right however often and in whatever order they were set."""
    total = sa.select(sa.func.sum(Refund.amount)).where(Refund.transaction_id == transaction_id)
    return session.scalar(total) or Decimal(0)


@erases
def erase_insured(event: Event, session: Session) -> None:
    """Take the name off the cover that the event is about, when an operator erases a person's data.

    The other columns hold amounts, dates and references, which you may have to keep: decide it here.
    """
    terms = session.get(PolicyTerms, event.policy_id) if event.policy_id else None
    if terms is not None:
        terms.insured = None


@describes("policy", "Policy")
def describe_policy(session: Session, reference: str) -> dict[str, object] | None:
    """The cover, for the page of its policy."""
    terms = session.get(PolicyTerms, reference)
    more = {"product": terms.product, "from": terms.starts_on, "to": terms.ends_on} if terms else {}
    return _described(session.get(Policy, reference), **more)


@describes("transaction", "Payment")
def describe_payment(session: Session, reference: str) -> dict[str, object] | None:
    """The payment, for the page of its transaction."""
    payment = session.get(Payment, reference)
    returned = refunded(session, reference)
    amounts = {"amount": payment.amount, "currency": payment.currency} if payment else {}
    return _described(payment, **amounts, **({"refunded": returned} if returned else {}))


@describes("claim", "Claim")
def describe_claim(session: Session, reference: str) -> dict[str, object] | None:
    """The claim, for its page."""
    claimed = session.get(ClaimedAmount, reference)
    more = {"amount": claimed.amount, "currency": claimed.currency} if claimed else {}
    return _described(session.get(InsuranceClaim, reference), **more)


def _described(row: Tracked | None, **more: object) -> dict[str, object] | None:
    if row is None:
        return None
    known = {name: value for name, value in more.items() if value is not None}
    return {"status": row.status, **known, "since": row.occurred_at, "by event": row.event_id}
