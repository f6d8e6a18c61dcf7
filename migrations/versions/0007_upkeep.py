"""Indexes for retention, and why a bulk replay left events alone.

Retention looks for the oldest rows that still hold something. Each of its rules has an index of what it may find, so
that a turn costs the same however many events there are:

- `ix_events_sealed`: sealed payloads. Every event that is settled gets an entry, once.
- `ix_events_masked`: masked payloads whose sealed one is erased. It is written when that is erased, and never before.
- `ix_events_unparsed`: sealed bodies that did not parse. They are few.

None of them holds what a claim changes (see 0006).

Building an index holds up deliveries. On a big PostgreSQL build it before the upgrade, while the receiver runs; this
migration then finds it:

    CREATE INDEX CONCURRENTLY ix_events_sealed ON events (received_at, id)
        WHERE state <> 'pending' AND sealed_payload IS NOT NULL;
    CREATE INDEX CONCURRENTLY ix_events_masked ON events (received_at, id)
        WHERE sealed_payload IS NULL AND masked_payload IS NOT NULL;
    CREATE INDEX CONCURRENTLY ix_events_unparsed ON events (received_at, id)
        WHERE NOT parsed AND sealed_payload IS NOT NULL;
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

HOLDING = {
    "ix_events_sealed": "state <> 'pending' AND sealed_payload IS NOT NULL",
    "ix_events_masked": "sealed_payload IS NULL AND masked_payload IS NOT NULL",
    "ix_events_unparsed": "NOT parsed AND sealed_payload IS NOT NULL",
}


def upgrade() -> None:
    for name, rows in HOLDING.items():
        where = sa.text(rows)
        columns = ["received_at", "id"]
        op.create_index(name, "events", columns, sqlite_where=where, postgresql_where=where, if_not_exists=True)
    op.add_column("bulk_replays", sa.Column("skipped_because", sa.JSON()))


def downgrade() -> None:
    op.drop_column("bulk_replays", "skipped_because")
    for name in HOLDING:
        op.drop_index(name, "events")
