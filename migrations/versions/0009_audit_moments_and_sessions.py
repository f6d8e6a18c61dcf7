"""The database itself says when an audit row was recorded, and sessions that were signed out stay ended.

`at` is what the writer says. `recorded_at` is the database's own clock, and no writer can choose it. By it the database
decides whether an audit row is old enough to be deleted, so a backdated row stays like any other. Rows of before this
migration have none, and are judged by `at` as before.

On SQLite, `INSERT OR REPLACE` deletes a row without asking any trigger, unless the connection set `recursive_triggers`.
So a number that is taken, or lower than one that is taken, is refused: new rows only ever come at the end.

A copy by PostgreSQL's logical replication inserts old rows. Disable `audit_log_insert` on the copy while it is made.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

AUDIT_HORIZON_DAYS = 365
COLUMNS = (
    "id", "at", "action", "event_id", "event_type", "result", "occurrences", "actor", "request_id", "duration_ms",
    "detail", "inbox_id",
)  # fmt: skip

POSTGRESQL = """
ALTER TABLE audit_log ALTER COLUMN recorded_at SET DEFAULT clock_timestamp();
CREATE TRIGGER audit_log_insert BEFORE INSERT ON audit_log FOR EACH ROW
    WHEN (NEW.recorded_at IS NULL OR NEW.recorded_at > clock_timestamp()
          OR NEW.recorded_at < clock_timestamp() - interval '1 minute')
    EXECUTE FUNCTION audit_log_is_append_only();
DO $$
DECLARE part regclass;
BEGIN
    FOR part IN SELECT 'audit_log'::regclass UNION SELECT relid FROM pg_partition_tree('audit_log') LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_log_insert', part);
    END LOOP;
END $$;
"""

REFUSE = "SELECT RAISE(ABORT, 'the audit log is append-only')"
NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'"
SAME = f"({', '.join(f'NEW.{name}' for name in COLUMNS)}) IS ({', '.join(f'OLD.{name}' for name in COLUMNS)})"

SQLITE = (
    "DROP TRIGGER audit_log_update",
    "DROP TRIGGER audit_log_delete",
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

SQLITE_BEFORE = (
    "DROP TRIGGER audit_log_insert",
    "DROP TRIGGER audit_log_stamp",
    "DROP TRIGGER audit_log_update",
    "DROP TRIGGER audit_log_delete",
    f"CREATE TRIGGER audit_log_update BEFORE UPDATE ON audit_log BEGIN {REFUSE}; END",
    "CREATE TRIGGER audit_log_delete BEFORE DELETE ON audit_log "
    f"WHEN OLD.at >= strftime('%Y-%m-%d %H:%M:%f', 'now', '-{AUDIT_HORIZON_DAYS} days') BEGIN {REFUSE}; END",
)


def upgrade() -> None:
    op.create_table(
        "ended_sessions",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("session_id"),
    )
    op.add_column("audit_log", sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        judge_deletions_by("COALESCE(OLD.recorded_at, OLD.at)")
        op.execute(POSTGRESQL)
    else:
        for statement in SQLITE:
            op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER audit_log_insert ON audit_log")
        judge_deletions_by("OLD.at")
    else:
        for statement in SQLITE_BEFORE:
            op.execute(statement)
    op.drop_column("audit_log", "recorded_at")
    op.drop_table("ended_sessions")


def judge_deletions_by(moment: str) -> None:
    op.execute(f"""
        CREATE OR REPLACE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND {moment} < clock_timestamp() - interval '{AUDIT_HORIZON_DAYS} days' THEN
                RETURN OLD;
            END IF;
            RAISE EXCEPTION 'the audit log is append-only';
        END $$""")
