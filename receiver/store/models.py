"""The receiver's own tables. The partner's tables are in app/models.py.

`events` is both inbox and queue: the row is the job. `audit_log` only grows; triggers in the migration refuse anything
else. A change here needs a migration: receiver/migrations/env.py says how.
"""

from datetime import datetime
from uuid import UUID, uuid5

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from receiver.database.columns import BigId, ReceiverBase, RowUuid, UtcDateTime
from receiver.store.lifecycle import State

_NO_ID = sa.text("event_id IS NULL")
_PENDING = sa.text("state = 'pending'")
_SEALED = sa.text("state <> 'pending' AND sealed_payload IS NOT NULL")
_MASKED = sa.text("sealed_payload IS NULL AND masked_payload IS NOT NULL")
_UNPARSED = sa.text("NOT parsed AND sealed_payload IS NOT NULL")
_FAILING = sa.text("state = 'pending' AND last_error IS NOT NULL")
_REJECTED = sa.text("substr(result, 1, 9) = 'rejected:'")
_SANDBOX = sa.text("environment = 'sandbox'")
_RUNNING = sa.text("state = 'running'")
_ACTS = sa.text("action NOT IN ('delivery', 'attempt')")
_CAUSED = sa.text("caused_by IS NOT NULL")
_CAUSE = sa.text("cause IS NOT NULL")
_SUMMED = sa.text("inbox_id IS NULL AND event_id IS NOT NULL")
_BYTEWISE = "text_pattern_ops"
"""On PostgreSQL an index in the database's own order can't serve prefixes. This one serves them, and equality."""
_IN_NO_ORDER = {"fillfactor": 70}
"""IDs come in no order: an index of them that is built anew needs room in each page, or each page splits at once."""

_SECOND_FACTORS = UUID("5ea1ed7e-0000-4000-8000-000000000002")

UNPARSED_DAYS = 7
"""How long an unparsed body is kept: nobody can free it of card authentication data (PCI DSS 3.3.1)."""
LATENCY = "latency"
"""The kind of the sums that time deliveries. Such a sum is named by the upper bound of its bucket in milliseconds."""
BEYOND = "more"
"""The name of the bucket that has no upper bound."""
HANDLER_BUCKETS = (1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 120_000)
"""Upper bounds of an attempt's duration in milliseconds; what is longer counts as `BEYOND`."""
UNTIMED = ""
"""The bucket of attempts that have no duration: nobody saw their end."""


def _references(name: str, column: str) -> sa.Index:
    """For a search by ID and for the story of one subject, in order of occurrence. Without rows that have none."""
    known = sa.text(f"{column} IS NOT NULL")
    bytewise = {column: _BYTEWISE}
    return sa.Index(
        name, column, "occurred_at", postgresql_ops=bytewise, postgresql_with=_IN_NO_ORDER,
        sqlite_where=known, postgresql_where=known,
    )  # fmt: skip


class StoredEvent(ReceiverBase):
    """One event, or one authentic body that is not (yet) an event: then `event_id` is null.

    Its pages have room for two versions of each row (see the first migration), so that PostgreSQL keeps a lease on the
    same page and out of the indexes: no index may hold what a lease changes.
    """

    __tablename__ = "events"
    __table_args__ = (
        sa.CheckConstraint(f"state IN ({', '.join(repr(s.value) for s in State)})", name="ck_events_state"),
        sa.Index(
            "uq_events_event_id",
            "event_id",
            unique=True,
            postgresql_ops={"event_id": _BYTEWISE},
            postgresql_with=_IN_NO_ORDER,
        ),
        sa.Index("uq_events_body", "body_digest", unique=True, sqlite_where=_NO_ID, postgresql_where=_NO_ID),
        sa.Index("ix_events_due", "due_at", "id", sqlite_where=_PENDING, postgresql_where=_PENDING),
        sa.Index("ix_events_received", "received_at", "id"),
        sa.Index("ix_events_state_received", "state", "received_at", "id"),
        sa.Index("ix_events_type_state_received", "event_type", "state", "received_at", "id"),
        _references("ix_events_transaction", "transaction_id"),
        _references("ix_events_policy", "policy_id"),
        _references("ix_events_claim", "claim_id"),
        _references("ix_events_stated_event", "stated_event_id"),
        sa.Index("ix_events_sealed", "received_at", "id", sqlite_where=_SEALED, postgresql_where=_SEALED),
        sa.Index("ix_events_masked", "received_at", "id", sqlite_where=_MASKED, postgresql_where=_MASKED),
        sa.Index("ix_events_unparsed", "received_at", "id", sqlite_where=_UNPARSED, postgresql_where=_UNPARSED),
        sa.Index("ix_events_failing", "received_at", "id", sqlite_where=_FAILING, postgresql_where=_FAILING),
        sa.Index("ix_events_caused", "caused_by", "id", sqlite_where=_CAUSED, postgresql_where=_CAUSED),
        sa.Index(
            "ix_events_cause", "cause", "state", "received_at", "id", sqlite_where=_CAUSE, postgresql_where=_CAUSE
        ),
        sa.Index(
            "ix_events_cause_since", "cause_since", "id", "cause", "state", sqlite_where=_CAUSE, postgresql_where=_CAUSE
        ),
        sa.Index("ix_events_sandbox", "id", sqlite_where=_SANDBOX, postgresql_where=_SANDBOX),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    seal_id: Mapped[UUID] = mapped_column(RowUuid)  # never changes: the sealed payload is bound to it
    event_id: Mapped[str | None] = mapped_column(sa.String(200))
    stated_event_id: Mapped[str | None] = mapped_column(sa.String(200))  # a quarantined body's own word
    event_type: Mapped[str | None] = mapped_column(sa.String(200))
    occurred_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    transaction_id: Mapped[str | None] = mapped_column(sa.String(200))
    policy_id: Mapped[str | None] = mapped_column(sa.String(200))
    claim_id: Mapped[str | None] = mapped_column(sa.String(200))
    reported_status: Mapped[str | None] = mapped_column(sa.String(200))
    environment: Mapped[str] = mapped_column(sa.String(10))
    caused_by: Mapped[int | None] = mapped_column(sa.BigInteger)  # a follow-up: the row whose handler asked for it
    traceparent: Mapped[str | None] = mapped_column(sa.String(55))  # of the delivery's span, or the asking attempt's

    state: Mapped[str] = mapped_column(sa.String(20))
    quarantine_reason: Mapped[str | None] = mapped_column(sa.String(40))  # unusable, id_reused or stale
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_token: Mapped[UUID | None] = mapped_column(RowUuid)
    leased_by: Mapped[str | None] = mapped_column(sa.String(100))
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(sa.Text)  # masked
    cause: Mapped[str | None] = mapped_column(sa.String(12))  # of a failure: while it fails, is dead or quarantined
    cause_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)  # while every attempt ends without success

    deliveries: Mapped[int] = mapped_column(default=1, server_default="1")
    id_reused: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    revived_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # by a redelivery
    replayed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # by a person
    body_digest: Mapped[str] = mapped_column(sa.String(100))
    sealed_payload: Mapped[bytes | None] = mapped_column(sa.LargeBinary)
    sealing_key: Mapped[str | None] = mapped_column(sa.String(16))
    parsed: Mapped[bool] = mapped_column(default=True, server_default=sa.true())
    masked_payload: Mapped[str | None] = mapped_column(sa.Text)  # JSON
    erased_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # for a person: it is a tombstone

    @property
    def is_failing(self) -> bool:
        """Whether its last attempt ended without success, and it is to be tried again."""
        return self.state == State.PENDING and self.last_error is not None

    @property
    def is_follow_up(self) -> bool:
        """Whether a handler of ours asked for it."""
        return self.caused_by is not None


class AuditEntry(ReceiverBase):
    """One line of the audit log (§9.1, §9.2). Append-only."""

    __tablename__ = "audit_log"
    __table_args__ = (
        sa.Index("ix_audit_inbox", "inbox_id", "id"),
        sa.Index("ix_audit_summed", "event_id", sqlite_where=_SUMMED, postgresql_where=_SUMMED),
        sa.Index("ix_audit_at", "at", "id"),
        sa.Index("ix_audit_rejected", "at", "id", sqlite_where=_REJECTED, postgresql_where=_REJECTED),
        sa.Index("ix_audit_acts", "action", "at", "id", sqlite_where=_ACTS, postgresql_where=_ACTS),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)  # as the writer says
    # By the database's own clock; no writer can choose it. SQLite stamps it after the row is inserted.
    recorded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
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


class PersonEntry(ReceiverBase):
    """One event that names one person, by a keyed digest (receiver/privacy/person.py). It goes with the payload."""

    __tablename__ = "person_index"
    __table_args__ = (sa.Index("ix_person_index_inbox", "inbox_id"), {"sqlite_with_rowid": False})

    digest: Mapped[bytes] = mapped_column(sa.LargeBinary, primary_key=True)
    inbox_id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(sa.String(10))
    key_id: Mapped[str] = mapped_column(sa.String(16))


class PersonIndexBuilt(ReceiverBase):
    """For which fields, and with which keys, the index was built the last time. One row, or none."""

    __tablename__ = "person_index_built"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    fields: Mapped[str] = mapped_column(sa.String(12))  # a fingerprint
    key_ids: Mapped[list[str]] = mapped_column(sa.JSON)  # those of its entries
    built_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PersonHold(ReceiverBase):
    """Somebody whose payloads have to stay until the hold is released, whatever retention says."""

    __tablename__ = "person_holds"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40))  # of the person, as the audit log has it
    held_at: Mapped[datetime] = mapped_column(UtcDateTime)
    held_by: Mapped[str] = mapped_column(sa.String(100))
    reason: Mapped[str] = mapped_column(sa.Text)  # masked
    seal_id: Mapped[UUID] = mapped_column(RowUuid)
    sealed_value: Mapped[bytes] = mapped_column(sa.LargeBinary)


class Observation(ReceiverBase):
    """An event type or payload field that was seen for the first time (§5.2, §11.1)."""

    __tablename__ = "observations"

    kind: Mapped[str] = mapped_column(sa.String(10), primary_key=True)  # type or field
    name: Mapped[str] = mapped_column(sa.String(400), primary_key=True)
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class HourlySum(ReceiverBase):
    """How often something happened in an hour: sums of the audit log (rollup.py), and of timings (latency.py)."""

    __tablename__ = "hourly_sums"

    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(20), primary_key=True)  # delivery, attempt, follow-up or LATENCY
    name: Mapped[str] = mapped_column(sa.String(60), primary_key=True)  # a result, or a bucket's upper bound
    occurrences: Mapped[int] = mapped_column(sa.BigInteger)


class AttemptSum(ReceiverBase):
    """How often attempts of one type ended so in an hour, and how long they took together (attempt_sums.py)."""

    __tablename__ = "attempt_sums"

    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    event_type: Mapped[str] = mapped_column(sa.String(61), primary_key=True)  # as a label (type_label.py)
    result: Mapped[str] = mapped_column(sa.String(60), primary_key=True)
    bucket: Mapped[str] = mapped_column(sa.String(10), primary_key=True)  # one of HANDLER_BUCKETS, BEYOND or UNTIMED
    occurrences: Mapped[int] = mapped_column(sa.BigInteger)
    milliseconds: Mapped[int] = mapped_column(sa.BigInteger)


class AttemptTotal(ReceiverBase):
    """The same of all time. It only grows, because Prometheus counts on that."""

    __tablename__ = "attempt_totals"

    event_type: Mapped[str] = mapped_column(sa.String(61), primary_key=True)
    result: Mapped[str] = mapped_column(sa.String(60), primary_key=True)
    bucket: Mapped[str] = mapped_column(sa.String(10), primary_key=True)
    occurrences: Mapped[int] = mapped_column(sa.BigInteger)
    milliseconds: Mapped[int] = mapped_column(sa.BigInteger)


class SummedUntil(ReceiverBase):
    """Up to which audit row the sums reach, and what is known at that row. One row, made by the migration."""

    __tablename__ = "summed_until"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    audit_id: Mapped[int] = mapped_column(sa.BigInteger)
    as_of: Mapped[datetime | None] = mapped_column(UtcDateTime)  # everything before this moment is in the sums
    turn_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_in_a_row: Mapped[int] = mapped_column(sa.BigInteger)
    last_good_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


PURGE = "purge"
"""The name of the only heartbeat that is no worker's: the turn of retention (receiver/maintenance/retention.py)."""


class Heartbeat(ReceiverBase):
    """A worker process that was alive at `seen_at`."""

    __tablename__ = "worker_heartbeats"

    worker: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    runs: Mapped[str | None] = mapped_column(sa.String(10))  # its lane
    running: Mapped[int | None] = mapped_column(sa.BigInteger)  # the event that it ran when it was seen


class AlertTurn(ReceiverBase):
    """When the conditions are looked at next, by whichever worker comes first. One row, made by the migration."""

    __tablename__ = "alert_turn"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    next_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    looked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the last look that came to its end


class AlertCondition(ReceiverBase):
    """A condition that began once: whether it lasts, and what a person said about it (receiver/alerts/watching.py)."""

    __tablename__ = "alert_conditions"

    code: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    lasts: Mapped[bool] = mapped_column()
    since: Mapped[datetime] = mapped_column(UtcDateTime)  # it began, or ended, then
    sentence: Mapped[str] = mapped_column(sa.Text)  # the latest
    acknowledged_by: Mapped[str | None] = mapped_column(sa.String(100))  # until it ends
    snoozed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AlertChannel(ReceiverBase):
    """One address of ALERT_URLS, or the heartbeat's: who sends to it at the moment, and whether it fails."""

    __tablename__ = "alert_channels"

    channel: Mapped[str] = mapped_column(sa.String(100), primary_key=True)  # a keyed digest of the address
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)  # nothing is sent before
    lease_token: Mapped[UUID | None] = mapped_column(RowUuid)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failures: Mapped[int] = mapped_column(default=0, server_default="0")  # since the last success
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str | None] = mapped_column(sa.String(40))  # a reason code


class AlertTold(ReceiverBase):
    """What a channel was told last of a condition."""

    __tablename__ = "alert_told"

    channel: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    lasts: Mapped[bool] = mapped_column()
    told_at: Mapped[datetime] = mapped_column(UtcDateTime)


class BulkAct(ReceiverBase):
    """An act on everything that a filter finds; its states are drawn in receiver/actions/bulk.py."""

    __tablename__ = "bulk_acts"
    __table_args__ = (
        sa.Index("ix_bulk_acts_running", "id", sqlite_where=_RUNNING, postgresql_where=_RUNNING),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(sa.String(100))
    act: Mapped[str] = mapped_column(sa.String(20))  # replay or dismiss
    reason: Mapped[str | None] = mapped_column(sa.String(200))
    filter: Mapped[str] = mapped_column(sa.Text)  # as it stands in an address
    state: Mapped[str] = mapped_column(sa.String(20))
    position_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    position_id: Mapped[int | None] = mapped_column(sa.BigInteger)
    done: Mapped[int] = mapped_column()
    skipped: Mapped[int] = mapped_column()
    skipped_because: Mapped[dict[str, int] | None] = mapped_column(sa.JSON)  # how many for each reason code
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Pause(ReceiverBase):
    """The handlers of one event type are paused, or of all: receiver/actions/pause.py draws its states."""

    __tablename__ = "pauses"

    event_type: Mapped[str] = mapped_column(sa.String(200), primary_key=True)  # or "*"
    paused_at: Mapped[datetime] = mapped_column(UtcDateTime)
    paused_by: Mapped[str] = mapped_column(sa.String(100))
    reason: Mapped[str] = mapped_column(sa.String(400))  # masked
    resumed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    position: Mapped[int] = mapped_column(sa.BigInteger)  # the last row that was made due again


class WebhookSecret(ReceiverBase):
    """A webhook secret that is set beside others, and when a delivery was signed with it last."""

    __tablename__ = "webhook_secrets"

    digest: Mapped[str] = mapped_column(sa.String(100), primary_key=True)  # a keyed one
    known_since: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AppliedSettings(ReceiverBase):
    """Settings of how deliveries are signed and read that an operator applied. There is one row, or none."""

    __tablename__ = "applied_settings"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    applied_at: Mapped[datetime] = mapped_column(UtcDateTime)
    applied_by: Mapped[str] = mapped_column(sa.String(100))
    seal_id: Mapped[UUID] = mapped_column(RowUuid)
    sealed_settings: Mapped[bytes] = mapped_column(sa.LargeBinary)


class CaptureWindow(ReceiverBase):
    """Until when, and how many more, deliveries that fail verification are kept for the doctor. It has one row.

    The number of the row is the number of the first delivery that it can keep.
    """

    __tablename__ = "capture_window"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    remaining: Mapped[int] = mapped_column()


class CapturedDelivery(ReceiverBase):
    """A delivery that failed verification, sealed. It is not an event and never becomes one."""

    __tablename__ = "captured_deliveries"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    captured_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(sa.String(40))
    source: Mapped[str] = mapped_column(sa.String(100))  # a keyed digest of the sender's address
    seal_id: Mapped[UUID] = mapped_column(RowUuid)
    sealed_request: Mapped[bytes] = mapped_column(sa.LargeBinary)


class User(ReceiverBase):
    """Who may look (viewer) and who may act (operator)."""

    __tablename__ = "users"
    __table_args__ = (sa.CheckConstraint("role IN ('operator', 'viewer')", name="ck_users_role"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(100), unique=True)
    password_hash: Mapped[str | None] = mapped_column(sa.String(300))  # none: they sign in at an OpenID provider
    identity: Mapped[str | None] = mapped_column(sa.String(600), unique=True)  # the provider's issuer and subject
    role: Mapped[str] = mapped_column(sa.String(10))
    active: Mapped[bool] = mapped_column(default=True, server_default=sa.true())
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    generation: Mapped[int] = mapped_column(default=0, server_default="0")  # sessions of an older one have ended
    last_sign_in_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sealed_second_factor: Mapped[bytes | None] = mapped_column(sa.LargeBinary)
    second_factor_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # it was confirmed then
    second_factor_step: Mapped[int | None] = mapped_column(sa.BigInteger)  # the time step of the last code

    @property
    def lacks_second_factor(self) -> bool:
        """Whether a password alone is enough. A provider asks for a second factor itself."""
        return self.password_hash is not None and self.second_factor_at is None

    @property
    def second_factor_row(self) -> UUID:
        """What the sealed secret is bound to."""
        return uuid5(_SECOND_FACTORS, str(self.id))


class RecoveryCode(ReceiverBase):
    """A hash of a code that replaces a code of the second factor, until it is used."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[int] = mapped_column(sa.BigInteger, sa.ForeignKey("users.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)


class EndedSession(ReceiverBase):
    """A session that its user signed out, until it would have ended by itself."""

    __tablename__ = "ended_sessions"

    session_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)


class FirstSignInLink(ReceiverBase):
    """The link by which the first operator gets in: one row, until there is an operator."""

    __tablename__ = "first_sign_in_link"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(sa.String(100))
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SignInFailures(ReceiverBase):
    """How many tries to sign in were refused in a window: for one name, for one address, for everyone."""

    __tablename__ = "sign_in_failures"
    __table_args__ = (sa.Index("ix_sign_in_failures_ends", "ends_at"),)

    source: Mapped[str] = mapped_column(sa.String(100), primary_key=True)  # a keyed digest, or "everyone"
    failures: Mapped[int] = mapped_column()
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ApiToken(ReceiverBase):
    """A token of the JSON API. Who holds it may read what its scopes name, and nothing can be done with it."""

    __tablename__ = "api_tokens"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(60), unique=True)
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)  # the token itself is nowhere
    scopes: Mapped[str] = mapped_column(sa.String(200))  # with spaces between them
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(sa.String(100))
    ends_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # to the minute or so
