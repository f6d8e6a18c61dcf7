"""The starter's tables: a state that events set, the event that set it, and what it says."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "partner_0001"
down_revision = None
branch_labels = ("partner",)
depends_on = None

TABLES = ("accounts", "claimed_amounts", "insurance_claims", "payments", "policies", "policy_terms", "refunds")


def upgrade() -> None:
    create("accounts")
    create("claimed_amounts", text("policy_id", 200), money("amount"), text("currency", 3))
    create("insurance_claims")
    create(
        "payments",
        money("amount"),
        text("currency", 3),
        text("method", 50),
        sa.Column("paid_at", sa.DateTime(timezone=True)),
    )
    create("policies")
    create(
        "policy_terms",
        text("product", 50),
        sa.Column("starts_on", sa.Date()),
        sa.Column("ends_on", sa.Date()),
        money("premium"),
        text("currency", 3),
        sa.Column("insured", sa.LargeBinary()),
    )
    create("refunds", text("transaction_id", 200), money("amount"), text("currency", 3))
    op.create_index("ix_refunds_transaction_id", "refunds", ["transaction_id"])


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)


def create(table: str, *columns: "sa.Column[Any]") -> None:
    op.create_table(
        table,
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=50), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("reference"),
    )


def text(name: str, length: int) -> "sa.Column[Any]":
    return sa.Column(name, sa.String(length=length), nullable=True)


def money(name: str) -> "sa.Column[Any]":
    kept = sa.Numeric(precision=18, scale=4).with_variant(sa.BigInteger(), "sqlite")
    return sa.Column(name, kept, nullable=True)
