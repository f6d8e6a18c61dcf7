"""Runs migrations, one process at a time: two deploys at once must not both migrate."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from app.database import Base, cause_of

MIGRATION_LOCK = 0x5E4A47


def render_item(kind, item, _autogen_context):
    """A migration must not import the application: our own column types stand as what the database knows."""
    if kind == "type" and type(item).__module__.startswith("app."):
        return f"sa.{item.impl!r}"
    return False


def take_turn(connection: Connection) -> None:
    """Wait for whoever migrates now. SQLite's lock was taken by BEGIN IMMEDIATE."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})


@contextmanager
def connected() -> Iterator[Connection]:
    """A connection in a transaction. Raises CommandError, which is one line on the terminal, when there is none."""
    engine = current_app.extensions["inbox"].engine.execution_options(sqlite_begin="IMMEDIATE")
    try:
        connection = engine.connect()
        transaction = connection.begin()
        take_turn(connection)
    except SQLAlchemyError as error:
        raise CommandError(f"The database does not answer as it should: {cause_of(error)}") from None
    with connection, transaction:
        yield connection


def run() -> None:
    """One transaction for everything: a migration that fails leaves nothing behind."""
    with connected() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_item=render_item,
            render_as_batch=connection.dialect.name == "sqlite",
            transactional_ddl=True,
            compare_type=True,
        )
        context.run_migrations()


run()
