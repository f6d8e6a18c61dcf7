"""The receiver's tables, and an audit log that only grows.

Nothing in the audit log is changed, and nothing younger than the horizon is deleted: triggers refuse it. The horizon is
a constant here on purpose, so no setting can shorten it. `at` is what the writer says. `recorded_at` is the database's
own clock, and no writer can choose it. By it the database decides whether a row is old enough to be deleted, so a
backdated row stays like any other.

On SQLite, `INSERT OR REPLACE` deletes a row without asking any trigger, unless the connection set `recursive_triggers`.
So a number that is taken, or lower than one that is taken, is refused: new rows only ever come at the end.

A copy by PostgreSQL's logical replication inserts old rows. Disable `audit_log_insert` on the copy while it is made.

PostgreSQL keeps a lease out of every index, on the event's own page, where that page has room. All events of a page are
leased at once, so it needs room for another version of each: half of it. Event IDs and references come in no order. An
index of them that is built anew needs room in each page, or each page splits at once.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "receiver_0001"
down_revision = None
branch_labels = ("receiver",)
depends_on = None

AUDIT_HORIZON_DAYS = 365
IN_NO_ORDER = {"fillfactor": 70}
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)

POSTGRESQL = f"""
ALTER TABLE events SET (fillfactor = 50);
ALTER TABLE audit_log ALTER COLUMN recorded_at SET DEFAULT clock_timestamp();
CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE'
        AND COALESCE(OLD.recorded_at, OLD.at) < clock_timestamp() - interval '{AUDIT_HORIZON_DAYS} days' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only';
END $$;
CREATE TRIGGER audit_log_rows BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only();
CREATE TRIGGER audit_log_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();
CREATE TRIGGER audit_log_insert BEFORE INSERT ON audit_log FOR EACH ROW
    WHEN (NEW.recorded_at IS NULL OR NEW.recorded_at > clock_timestamp()
          OR NEW.recorded_at < clock_timestamp() - interval '1 minute')
    EXECUTE FUNCTION audit_log_is_append_only();
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_rows;
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_truncate;
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_insert;
"""

AUDIT_COLUMNS = (
    "id", "at", "action", "event_id", "event_type", "result", "occurrences", "actor", "request_id", "duration_ms",
    "detail", "inbox_id",
)  # fmt: skip
REFUSE = "SELECT RAISE(ABORT, 'the audit log is append-only')"
NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'"
SAME = (
    f"({', '.join(f'NEW.{name}' for name in AUDIT_COLUMNS)}) IS ({', '.join(f'OLD.{name}' for name in AUDIT_COLUMNS)})"
)

SQLITE = (
    # A number that SQLite is still to choose is not positive here.
    f"""CREATE TRIGGER audit_log_insert BEFORE INSERT ON audit_log
        WHEN NEW.recorded_at IS NOT NULL OR NEW.id > 0 AND EXISTS (SELECT 1 FROM audit_log WHERE id >= NEW.id)
        BEGIN {REFUSE}; END""",  # noqa: S608 - no part of it is input
    f"""CREATE TRIGGER audit_log_stamp AFTER INSERT ON audit_log BEGIN
        {REFUSE} WHERE EXISTS (SELECT 1 FROM audit_log WHERE id > NEW.id);
        UPDATE audit_log SET recorded_at = {NOW} WHERE id = NEW.id; END""",  # noqa: S608 - as above
    f"""CREATE TRIGGER audit_log_update BEFORE UPDATE ON audit_log
        WHEN NOT (OLD.recorded_at IS NULL AND NEW.recorded_at IS {NOW} AND {SAME})
        BEGIN {REFUSE}; END""",
    f"""CREATE TRIGGER audit_log_delete BEFORE DELETE ON audit_log
        WHEN COALESCE(OLD.recorded_at, OLD.at) >= strftime('%Y-%m-%d %H:%M:%f', 'now', '-{AUDIT_HORIZON_DAYS} days')
        BEGIN {REFUSE}; END""",
)


def upgrade() -> None:
    create_events()
    create_person_index()
    create_audit_log()
    create_sums()
    create_bulk_acts()
    create_pauses()
    create_alerts()
    create_webhook_secrets()
    create_captures()
    create_applied_settings()
    create_users()
    create_api_tokens()
    create_worker_tables()
    if op.get_bind().dialect.name == "postgresql":
        op.execute(POSTGRESQL)
    else:
        for statement in SQLITE:
            op.execute(statement)


def downgrade() -> None:
    for table in (
        "worker_heartbeats", "observations", "sign_in_failures", "first_sign_in_link", "ended_sessions",
        "recovery_codes", "users", "applied_settings", "captured_deliveries", "capture_window", "alert_told",
        "alert_channels", "alert_conditions", "alert_turn", "api_tokens", "webhook_secrets", "pauses", "bulk_acts",
        "summed_until", "attempt_totals", "attempt_sums", "hourly_sums", "audit_log", "person_holds",
        "person_index_built", "person_index", "events",
    ):  # fmt: skip
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_log_is_append_only()")


def create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("seal_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=True),
        sa.Column("stated_event_id", sa.String(length=200), nullable=True),
        sa.Column("event_type", sa.String(length=200), nullable=True),
        sa.Column("occurred_at", MOMENT, nullable=True),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("transaction_id", sa.String(length=200), nullable=True),
        sa.Column("policy_id", sa.String(length=200), nullable=True),
        sa.Column("claim_id", sa.String(length=200), nullable=True),
        sa.Column("reported_status", sa.String(length=200), nullable=True),
        sa.Column("environment", sa.String(length=10), nullable=False),
        sa.Column("caused_by", sa.BigInteger(), nullable=True),
        sa.Column("traceparent", sa.String(length=55), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("quarantine_reason", sa.String(length=40), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("leased_by", sa.String(length=100), nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("cause", sa.String(length=12), nullable=True),
        sa.Column("cause_since", MOMENT, nullable=True),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("deliveries", sa.Integer(), server_default="1", nullable=False),
        sa.Column("id_reused", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("revived_at", MOMENT, nullable=True),
        sa.Column("replayed_at", MOMENT, nullable=True),
        sa.Column("body_digest", sa.String(length=100), nullable=False),
        sa.Column("sealed_payload", sa.LargeBinary(), nullable=True),
        sa.Column("sealing_key", sa.String(length=16), nullable=True),
        sa.Column("parsed", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("masked_payload", sa.Text(), nullable=True),
        sa.Column("erased_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'processed', 'dead', 'unhandled', 'quarantined', 'dismissed')", name="ck_events_state"
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_events_event_id",
        "events",
        ["event_id"],
        unique=True,
        postgresql_ops={"event_id": "text_pattern_ops"},
        postgresql_with=IN_NO_ORDER,
    )
    create_partial_index("uq_events_body", "events", ["body_digest"], "event_id IS NULL", unique=True)
    create_partial_index("ix_events_due", "events", ["due_at", "id"], "state = 'pending'")
    op.create_index("ix_events_received", "events", ["received_at", "id"])
    op.create_index("ix_events_state_received", "events", ["state", "received_at", "id"])
    op.create_index("ix_events_type_state_received", "events", ["event_type", "state", "received_at", "id"])
    for name, column in (
        ("ix_events_transaction", "transaction_id"),
        ("ix_events_policy", "policy_id"),
        ("ix_events_claim", "claim_id"),
        ("ix_events_stated_event", "stated_event_id"),
    ):
        known, bytewise = f"{column} IS NOT NULL", {column: "text_pattern_ops"}
        create_partial_index(
            name, "events", [column, "occurred_at"], known, postgresql_ops=bytewise, postgresql_with=IN_NO_ORDER
        )
    for name, rows in {
        "ix_events_sealed": "state <> 'pending' AND sealed_payload IS NOT NULL",
        "ix_events_masked": "sealed_payload IS NULL AND masked_payload IS NOT NULL",
        "ix_events_unparsed": "NOT parsed AND sealed_payload IS NOT NULL",
        "ix_events_failing": "state = 'pending' AND last_error IS NOT NULL",
    }.items():
        create_partial_index(name, "events", ["received_at", "id"], rows)
    create_partial_index("ix_events_caused", "events", ["caused_by", "id"], "caused_by IS NOT NULL")
    create_partial_index("ix_events_cause", "events", ["cause", "state", "received_at", "id"], "cause IS NOT NULL")
    create_partial_index(
        "ix_events_cause_since", "events", ["cause_since", "id", "cause", "state"], "cause IS NOT NULL"
    )
    create_partial_index("ix_events_sandbox", "events", ["id"], "environment = 'sandbox'")


def create_person_index() -> None:
    op.create_table(
        "person_index",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("inbox_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("digest", "inbox_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_person_index_inbox", "person_index", ["inbox_id"])
    op.create_table(
        "person_index_built",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fields", sa.String(length=12), nullable=False),
        sa.Column("key_ids", sa.JSON(), nullable=False),
        sa.Column("built_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "person_holds",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("held_at", MOMENT, nullable=False),
        sa.Column("held_by", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seal_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )


def create_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=True),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=True),
        sa.Column("event_type", sa.String(length=200), nullable=True),
        sa.Column("result", sa.String(length=60), nullable=False),
        sa.Column("occurrences", sa.Integer(), server_default="1", nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("inbox_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_at", "audit_log", ["at", "id"])
    op.create_index("ix_audit_inbox", "audit_log", ["inbox_id", "id"])
    create_partial_index("ix_audit_summed", "audit_log", ["event_id"], "inbox_id IS NULL AND event_id IS NOT NULL")
    create_partial_index("ix_audit_rejected", "audit_log", ["at", "id"], "substr(result, 1, 9) = 'rejected:'")
    create_partial_index("ix_audit_acts", "audit_log", ["action", "at", "id"], "action NOT IN ('delivery', 'attempt')")


def create_sums() -> None:
    op.create_table(
        "hourly_sums",
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("occurrences", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "kind", "name"),
    )
    for name, hour in (("attempt_sums", [sa.Column("hour", MOMENT, nullable=False)]), ("attempt_totals", [])):
        op.create_table(
            name,
            *hour,
            sa.Column("event_type", sa.String(length=61), nullable=False),
            sa.Column("result", sa.String(length=60), nullable=False),
            sa.Column("bucket", sa.String(length=10), nullable=False),
            sa.Column("occurrences", sa.BigInteger(), nullable=False),
            sa.Column("milliseconds", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint(*(column.name for column in hour), "event_type", "result", "bucket"),
        )
    summed_until = op.create_table(
        "summed_until",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("audit_id", sa.BigInteger(), nullable=False),
        sa.Column("as_of", MOMENT, nullable=True),
        sa.Column("turn_at", MOMENT, nullable=True),
        sa.Column("failed_in_a_row", sa.BigInteger(), nullable=False),
        sa.Column("last_good_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(summed_until, [{"id": 1, "audit_id": 0, "failed_in_a_row": 0}])


def create_bulk_acts() -> None:
    op.create_table(
        "bulk_acts",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("act", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("position_at", MOMENT, nullable=True),
        sa.Column("position_id", sa.BigInteger(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("skipped_because", sa.JSON(), nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    create_partial_index("ix_bulk_acts_running", "bulk_acts", ["id"], "state = 'running'")


def create_pauses() -> None:
    op.create_table(
        "pauses",
        sa.Column("event_type", sa.String(length=200), nullable=False),
        sa.Column("paused_at", MOMENT, nullable=False),
        sa.Column("paused_by", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.Column("resumed_at", MOMENT, nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_type"),
    )


def create_alerts() -> None:
    turn = op.create_table(
        "alert_turn",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next_at", MOMENT, nullable=True),
        sa.Column("looked_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(turn, [{"id": 1}])
    op.create_table(
        "alert_conditions",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("lasts", sa.Boolean(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("acknowledged_by", sa.String(length=100), nullable=True),
        sa.Column("snoozed_until", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_table(
        "alert_channels",
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("error", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("channel"),
    )
    op.create_table(
        "alert_told",
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("lasts", sa.Boolean(), nullable=False),
        sa.Column("told_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("channel", "code"),
    )


def create_webhook_secrets() -> None:
    op.create_table(
        "webhook_secrets",
        sa.Column("digest", sa.String(length=100), nullable=False),
        sa.Column("known_since", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("digest"),
    )


def create_captures() -> None:
    op.create_table(
        "capture_window",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "captured_deliveries",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("captured_at", MOMENT, nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("seal_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_request", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )


def create_applied_settings() -> None:
    op.create_table(
        "applied_settings",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("applied_at", MOMENT, nullable=False),
        sa.Column("applied_by", sa.String(length=100), nullable=False),
        sa.Column("seal_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_settings", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("password_hash", sa.String(length=300), nullable=True),
        sa.Column("identity", sa.String(length=600), nullable=True),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("generation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_sign_in_at", MOMENT, nullable=True),
        sa.Column("sealed_second_factor", sa.LargeBinary(), nullable=True),
        sa.Column("second_factor_at", MOMENT, nullable=True),
        sa.Column("second_factor_step", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("role IN ('operator', 'viewer')", name="ck_users_role"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("identity"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("user_id", "digest"),
    )
    op.create_table(
        "ended_sessions",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("session_id"),
    )
    op.create_table(
        "first_sign_in_link",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=100), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "sign_in_failures",
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_index("ix_sign_in_failures_ends", "sign_in_failures", ["ends_at"])


def create_api_tokens() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(length=200), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("ends_at", MOMENT, nullable=True),
        sa.Column("used_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("digest"),
    )


def create_worker_tables() -> None:
    op.create_table(
        "observations",
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("first_seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name"),
    )
    op.create_table(
        "worker_heartbeats",
        sa.Column("worker", sa.String(length=100), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("runs", sa.String(length=10), nullable=True),
        sa.Column("running", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("worker"),
    )


def create_partial_index(
    name: str, table: str, columns: list[str], rows: str, *, unique: bool = False, **more: Any
) -> None:
    """An index of those rows alone."""
    where = sa.text(rows)
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where, **more)
