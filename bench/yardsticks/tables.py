"""The columns that the yardsticks fill, in plain SQLAlchemy: our own models would bring our own types along."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Every table's base."""


class Event(Base):
    """One event."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    seal_id: Mapped[UUID]
    event_id: Mapped[str] = mapped_column(sa.String(200))
    event_type: Mapped[str] = mapped_column(sa.String(200))
    occurred_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    received_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    due_at: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))
    transaction_id: Mapped[str | None] = mapped_column(sa.String(200))
    policy_id: Mapped[str | None] = mapped_column(sa.String(200))
    claim_id: Mapped[str | None] = mapped_column(sa.String(200))
    reported_status: Mapped[str | None] = mapped_column(sa.String(200))
    environment: Mapped[str] = mapped_column(sa.String(10))
    state: Mapped[str] = mapped_column(sa.String(20))
    body_digest: Mapped[str] = mapped_column(sa.String(100))
    sealed_payload: Mapped[bytes | None]
    sealing_key: Mapped[str | None] = mapped_column(sa.String(16))
    masked_payload: Mapped[str | None] = mapped_column(sa.Text)


class AuditEntry(Base):
    """One line of the audit log."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    action: Mapped[str] = mapped_column(sa.String(20))
    event_id: Mapped[str | None] = mapped_column(sa.String(200))
    event_type: Mapped[str | None] = mapped_column(sa.String(200))
    result: Mapped[str] = mapped_column(sa.String(60))
    inbox_id: Mapped[int | None] = mapped_column(sa.BigInteger)


class Payment(Base):
    """A payment, by its transaction ID."""

    __tablename__ = "payments"

    reference: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    status: Mapped[str] = mapped_column(sa.String(50))
    rank: Mapped[int]
    occurred_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    event_id: Mapped[str] = mapped_column(sa.String(200))
