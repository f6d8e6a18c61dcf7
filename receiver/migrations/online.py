"""For migrations: an index of a large table that is built while deliveries come in.

    from receiver.migrations.online import build_index, drop_index

    def upgrade():
        build_index("ix_events_new", "events", ["received_at"])

On PostgreSQL it is built `CONCURRENTLY`, outside a transaction. Where the build was cut off, run the upgrade again:
what it left behind is taken away first. Give such an index a migration of its own: what else stands in it commits
before.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op


def build_index(name: str, table: str, columns: Sequence[str], **options: Any) -> None:
    """Build the index, unless it is there and whole. `options` are those of `op.create_index`."""
    if op.get_bind().dialect.name != "postgresql":
        op.create_index(name, table, list(columns), if_not_exists=True, **options)
        return
    with op.get_context().autocommit_block():
        _wait_for_ever()
        if _is_broken(name):
            op.drop_index(name, table, postgresql_concurrently=True)
        op.create_index(name, table, list(columns), if_not_exists=True, postgresql_concurrently=True, **options)


def drop_index(name: str, table: str) -> None:
    """Drop the index, if it is there."""
    if op.get_bind().dialect.name != "postgresql":
        op.drop_index(name, table, if_exists=True)
        return
    with op.get_context().autocommit_block():
        _wait_for_ever()
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


def _wait_for_ever() -> None:
    """The session ends with the migrations."""
    op.execute("SET lock_timeout = 0")
    op.execute("SET statement_timeout = 0")


def _is_broken(name: str) -> bool:
    """Whether there is an index of that name which a build that was cut off has left."""
    found = sa.text("SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    return bool(op.get_bind().scalar(found, {"name": name}))
