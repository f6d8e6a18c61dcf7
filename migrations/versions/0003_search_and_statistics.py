"""The page searches by type and by ID, and shows sums by the hour, however many events there are.

The unique index on the event ID is built anew so that it serves prefixes on PostgreSQL too, instead of adding a
second one to every insert. It is there throughout, and serves all that the previous release asks of it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REFERENCES = {
    "ix_events_transaction": "transaction_id",
    "ix_events_policy": "policy_id",
    "ix_events_claim": "claim_id",
    "ix_events_claimed_event": "claimed_event_id",
}


def upgrade() -> None:
    rebuild_unique_index("(event_id text_pattern_ops)")
    op.create_index(
        "ix_events_type_state_received", "events", ["event_type", "state", "received_at", "id"], unique=False
    )
    for name, column in REFERENCES.items():
        known = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            name,
            "events",
            [column, "occurred_at"],
            unique=False,
            postgresql_ops={column: "text_pattern_ops"},
            sqlite_where=known,
            postgresql_where=known,
        )
    op.create_table(
        "hourly_sums",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("occurrences", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "kind", "name"),
    )
    summed_until = op.create_table(
        "summed_until",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("audit_id", sa.BigInteger(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=True),
        sa.Column("turn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_in_a_row", sa.BigInteger(), nullable=False),
        sa.Column("last_good_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(summed_until, [{"id": 1, "audit_id": 0, "failed_in_a_row": 0}])


def downgrade() -> None:
    op.drop_table("summed_until")
    op.drop_table("hourly_sums")
    for name in REFERENCES:
        op.drop_index(name, table_name="events")
    op.drop_index("ix_events_type_state_received", table_name="events")
    rebuild_unique_index("(event_id)")


def rebuild_unique_index(columns: str) -> None:
    """SQLite compares bytes anyway."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE UNIQUE INDEX uq_events_event_id_new ON events {columns}")
        op.execute("DROP INDEX uq_events_event_id")
        op.execute("ALTER INDEX uq_events_event_id_new RENAME TO uq_events_event_id")
