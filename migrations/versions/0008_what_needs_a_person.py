"""What needs a person, found at a price that does not grow: events that fail and are tried again, and refusals.

`failing_since` says since when every attempt of a pending event has ended without success. What is failing at the
moment of the migration counts from the moment at which it was received. The audit rows of refused deliveries are few,
since the tally bounds them, and lie among all the others: an index of their own finds them.

Building an index holds up deliveries. On a big PostgreSQL build both before the upgrade, while the receiver runs; this
migration then finds them:

    CREATE INDEX CONCURRENTLY ix_events_failing ON events (received_at, id)
        WHERE state = 'pending' AND last_error IS NOT NULL;
    CREATE INDEX CONCURRENTLY ix_audit_rejected ON audit_log (at, id)
        WHERE substr(result, 1, 9) = 'rejected:';
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

FAILING = sa.text("state = 'pending' AND last_error IS NOT NULL")
REJECTED = sa.text("substr(result, 1, 9) = 'rejected:'")


def upgrade() -> None:
    for name, table, columns, rows in (
        ("ix_events_failing", "events", ["received_at", "id"], FAILING),
        ("ix_audit_rejected", "audit_log", ["at", "id"], REJECTED),
    ):
        op.create_index(name, table, columns, sqlite_where=rows, postgresql_where=rows, if_not_exists=True)
    # Last, for it locks the table until everything is committed.
    op.add_column("events", sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE events SET failing_since = received_at WHERE state = 'pending' AND last_error IS NOT NULL")


def downgrade() -> None:
    op.drop_index("ix_audit_rejected", "audit_log")
    op.drop_index("ix_events_failing", "events")
    op.drop_column("events", "failing_since")
