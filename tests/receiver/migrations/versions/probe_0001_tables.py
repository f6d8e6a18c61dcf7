"""The tables of tests/receiver/partner."""

import sqlalchemy as sa
from alembic import op

revision = "probe_0001"
down_revision = None
branch_labels = ("partner",)
depends_on = None

TABLES = ("probe_claims", "probe_payments", "probe_people", "probe_policies", "probe_refunds", "probe_topics")


def upgrade() -> None:
    for table in TABLES:
        sealed = [sa.Column(name, sa.LargeBinary()) for name in ("name", "address") if table == "probe_people"]
        op.create_table(
            table,
            sa.Column("reference", sa.String(length=200), nullable=False),
            sa.Column("status", sa.String(length=50), nullable=False),
            sa.Column("rank", sa.Integer(), nullable=False),
            sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
            sa.Column("event_id", sa.String(length=200), nullable=False),
            *sealed,
            sa.PrimaryKeyConstraint("reference"),
        )
    op.create_table(
        "probe_notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("words", sa.LargeBinary(), nullable=False),
        sa.Column("about", sa.String(length=50)),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "probe_shares",
        sa.Column("policy_id", sa.String(length=50), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.LargeBinary()),
        sa.Column("heir", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("policy_id", "number"),
    )


def downgrade() -> None:
    for table in (*TABLES, "probe_notes", "probe_shares"):
        op.drop_table(table)
