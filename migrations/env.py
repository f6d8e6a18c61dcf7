"""Runs migrations, one process at a time: two deploys at once must not both migrate."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from alembic.migration import MigrationContext
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from app.database import Base, cause_of
from app.inbox.queries import VERSION_TABLE, known_revisions

MIGRATION_LOCK = 0x5E4A47


def render_item(kind, item, _autogen_context):
    """A migration must not import the application: our own column types stand as what the database knows."""
    if kind == "type" and type(item).__module__.startswith("app."):
        return f"sa.{item.impl!r}"
    return False


def include_name(name, kind, _parents):
    """Only tables that our models know. Those of other applications in the same database are not ours to drop."""
    return kind != "table" or name in Base.metadata.tables


def take_over(connection: Connection) -> None:
    """A database of before our table of revisions had a name of its own: note there what the common one says of us.

    The common table stays as it is, for another application may keep its own revisions in it.
    """
    database = inspect(connection)
    tables = database.get_table_names()
    if VERSION_TABLE in tables or not {"alembic_version", "events", "audit_log"} <= set(tables):
        return
    found = connection.scalars(text("SELECT version_num FROM alembic_version")).all()
    ours = [revision for revision in found if revision in known_revisions()]
    if ours and "seal_id" in {column["name"] for column in database.get_columns("events")}:
        MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).stamp(context.script, ours[0])


def refuse_foreign_tables(connection: Connection) -> None:
    """Before the first migration nothing has a name of ours. Raises CommandError, which is one line on the terminal."""
    database = inspect(connection)
    taken = {*database.get_table_names(), *database.get_view_names()}
    if VERSION_TABLE not in taken and (foreign := sorted(taken & set(Base.metadata.tables))):
        raise CommandError(
            f"Another application has {', '.join(foreign)} here, which are names of the receiver's. "
            "Give the receiver a database or a schema of its own (options=-csearch_path%3Dname)."
        )


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
        take_over(connection)
        refuse_foreign_tables(connection)
        context.configure(
            connection=connection,
            version_table=VERSION_TABLE,
            include_name=include_name,
            target_metadata=Base.metadata,
            render_item=render_item,
            render_as_batch=connection.dialect.name == "sqlite",
            transactional_ddl=True,
            compare_type=True,
        )
        context.run_migrations()


run()
