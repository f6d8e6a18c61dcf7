"""The tables of tests/receiver/partner."""

import sqlalchemy as sa
from alembic import op

revision = "probe_0001"
down_revision = None
branch_labels = ("partner",)
depends_on = None

TABLES = ("probe_claims", "probe_payments", "probe_policies", "probe_refunds", "probe_topics")


def upgrade() -> None:
    for table in TABLES:
        op.create_table(
            table,
            sa.Column("reference", sa.String(length=200), nullable=False),
            sa.Column("status", sa.String(length=50), nullable=False),
            sa.Column("rank", sa.Integer(), nullable=False),
            sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
            sa.Column("event_id", sa.String(length=200), nullable=False),
            sa.PrimaryKeyConstraint("reference"),
        )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
