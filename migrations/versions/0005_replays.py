"""Replays of everything that a filter finds, and when an event was replayed last."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("replayed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "bulk_replays",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("position_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("position_id", sa.BigInteger(), nullable=True),
        sa.Column("replayed", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    running = sa.text("state = 'running'")
    op.create_index(
        "ix_bulk_replays_running", "bulk_replays", ["id"], unique=False, sqlite_where=running, postgresql_where=running
    )
    acts = sa.text("action NOT IN ('delivery', 'attempt')")
    op.create_index(
        "ix_audit_acts", "audit_log", ["action", "at", "id"], unique=False, sqlite_where=acts, postgresql_where=acts
    )


def downgrade() -> None:
    op.drop_index("ix_audit_acts", table_name="audit_log")
    op.drop_table("bulk_replays")
    op.drop_column("events", "replayed_at")
