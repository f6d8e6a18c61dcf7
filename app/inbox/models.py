"""The receiver's own tables. The partner's stand in app/handlers/models.py.

`events` is inbox and queue at once: the row is the job. `audit_log` only ever grows (triggers in the
migration refuse anything else). A change here needs `flask --app wsgi db migrate`.
"""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, BigId, UtcDateTime
from app.inbox.lifecycle import State

_NO_ID = sa.text("event_id IS NULL")
_PENDING = sa.text("state = 'pending'")
_SANDBOX = sa.text("environment = 'sandbox'")


class StoredEvent(Base):
    """One event, or one authentic body that is not (yet) an event: then `event_id` is null."""

    __tablename__ = "events"
    __table_args__ = (
        sa.CheckConstraint(f"state IN ({', '.join(repr(s.value) for s in State)})", name="ck_events_state"),
        sa.Index("uq_events_event_id", "event_id", unique=True),
        sa.Index("uq_events_body", "body_digest", unique=True, sqlite_where=_NO_ID, postgresql_where=_NO_ID),
        sa.Index("ix_events_due", "due_at", "id", sqlite_where=_PENDING, postgresql_where=_PENDING),
        sa.Index("ix_events_received", "received_at", "id"),
        sa.Index("ix_events_state_received", "state", "received_at", "id"),
        sa.Index("ix_events_sandbox", "id", sqlite_where=_SANDBOX, postgresql_where=_SANDBOX),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    seal_id: Mapped[UUID] = mapped_column(sa.Uuid)  # never changes: the sealed payload is bound to it
    event_id: Mapped[str | None] = mapped_column(sa.String(200))
    claimed_event_id: Mapped[str | None] = mapped_column(sa.String(200))  # a quarantined body's own word
    event_type: Mapped[str | None] = mapped_column(sa.String(200))
    occurred_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    transaction_id: Mapped[str | None] = mapped_column(sa.String(200))
    policy_id: Mapped[str | None] = mapped_column(sa.String(200))
    claim_id: Mapped[str | None] = mapped_column(sa.String(200))
    reported_status: Mapped[str | None] = mapped_column(sa.String(200))
    environment: Mapped[str] = mapped_column(sa.String(10))

    state: Mapped[str] = mapped_column(sa.String(20))
    quarantine_reason: Mapped[str | None] = mapped_column(sa.String(40))  # unusable, id_reused or stale
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    claim_token: Mapped[UUID | None] = mapped_column(sa.Uuid)
    claimed_by: Mapped[str | None] = mapped_column(sa.String(100))
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(sa.Text)  # masked

    deliveries: Mapped[int] = mapped_column(default=1, server_default="1")
    id_reused: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    revived_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    body_digest: Mapped[str] = mapped_column(sa.String(100))
    sealed_payload: Mapped[bytes | None] = mapped_column(sa.LargeBinary)
    sealing_key: Mapped[str | None] = mapped_column(sa.String(16))
    parsed: Mapped[bool] = mapped_column(default=True, server_default=sa.true())
    masked_payload: Mapped[str | None] = mapped_column(sa.Text)  # JSON


class AuditEntry(Base):
    """One line of the audit log (§9.1, §9.2). Append-only."""

    __tablename__ = "audit_log"
    __table_args__ = (
        sa.Index("ix_audit_event", "event_id", "id"),
        sa.Index("ix_audit_at", "at", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    action: Mapped[str] = mapped_column(sa.String(20))  # delivery, attempt, replay, purge, sign_in, …
    event_id: Mapped[str | None] = mapped_column(sa.String(200))
    event_type: Mapped[str | None] = mapped_column(sa.String(200))
    result: Mapped[str] = mapped_column(sa.String(60))
    occurrences: Mapped[int] = mapped_column(default=1, server_default="1")
    actor: Mapped[str | None] = mapped_column(sa.String(100))
    request_id: Mapped[str | None] = mapped_column(sa.String(64))
    duration_ms: Mapped[int | None] = mapped_column()
    detail: Mapped[str | None] = mapped_column(sa.Text)  # masked
    inbox_id: Mapped[int | None] = mapped_column(sa.BigInteger)  # the row in `events`, for its masked payload


class Observation(Base):
    """An event type or payload field that was seen for the first time (§5.2, §11.1)."""

    __tablename__ = "observations"

    kind: Mapped[str] = mapped_column(sa.String(10), primary_key=True)  # type or field
    name: Mapped[str] = mapped_column(sa.String(400), primary_key=True)
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Heartbeat(Base):
    """A worker process that was alive at `seen_at`."""

    __tablename__ = "worker_heartbeats"

    worker: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CaptureWindow(Base):
    """Whether deliveries that fail verification are kept for the doctor: until when, and how many more. One row."""

    __tablename__ = "capture_window"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    remaining: Mapped[int] = mapped_column()


class CapturedDelivery(Base):
    """A delivery that failed verification, sealed. It is no event and never becomes one."""

    __tablename__ = "captured_deliveries"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    captured_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(sa.String(40))
    source: Mapped[str] = mapped_column(sa.String(100))  # a keyed digest of the sender's address
    seal_id: Mapped[UUID] = mapped_column(sa.Uuid)
    sealed_request: Mapped[bytes] = mapped_column(sa.LargeBinary)


class User(Base):
    """Who may look (viewer) and who may act (operator)."""

    __tablename__ = "users"
    __table_args__ = (sa.CheckConstraint("role IN ('operator', 'viewer')", name="ck_users_role"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(100), unique=True)
    password_hash: Mapped[str] = mapped_column(sa.String(300))
    role: Mapped[str] = mapped_column(sa.String(10))
    active: Mapped[bool] = mapped_column(default=True, server_default=sa.true())
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
