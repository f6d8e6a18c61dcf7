"""Room for what changes, and the audit rows of an event found by its row.

A claim changes no indexed column, so PostgreSQL keeps it on the event's own page, and out of every index, where that
page has room. All events of a page are claimed at once, so it needs room for another version of each. Event IDs and
references come in no order: an index of them that is built anew needs room in each page, or each page splits at once.
The audit log is found by the number of the event's row, which only ever grows, instead of its ID. Rows of sums have no
number, and an index of their own.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

IN_NO_ORDER = (
    "uq_events_event_id",
    "ix_events_transaction",
    "ix_events_policy",
    "ix_events_claim",
    "ix_events_claimed_event",
)


def upgrade() -> None:
    op.drop_index("ix_audit_event", "audit_log")
    summed = sa.text("inbox_id IS NULL AND event_id IS NOT NULL")
    op.create_index("ix_audit_summed", "audit_log", ["event_id"], sqlite_where=summed, postgresql_where=summed)
    op.create_index("ix_audit_inbox", "audit_log", ["inbox_id", "id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE events SET (fillfactor = 50)")
        for name in IN_NO_ORDER:
            op.execute(f"ALTER INDEX {name} SET (fillfactor = 70)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for name in IN_NO_ORDER:
            op.execute(f"ALTER INDEX {name} RESET (fillfactor)")
        op.execute("ALTER TABLE events RESET (fillfactor)")
    op.drop_index("ix_audit_inbox", "audit_log")
    op.drop_index("ix_audit_summed", "audit_log")
    op.create_index("ix_audit_event", "audit_log", ["event_id", "id"])
