"""Runs migrations, one process at a time: two deploys at once must not both migrate.

There are two branches: `receiver` (receiver/migrations/versions) and `partner` (migrations/versions). A generated
revision is the partner's, and compares the partner's tables alone. A developer of the receiver itself adds
`-x branch=receiver` to `db migrate`, with `--head receiver@head --version-path receiver/migrations/versions`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import context
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import Connection
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from receiver.database.causes import told
from receiver.database.columns import Base, ReceiverBase
from receiver.store.schema import VERSION_TABLE

MIGRATION_LOCK = 0x5E4A47
PAUSE_SECONDS = 0.2
IS_OURS = context.get_x_argument(as_dictionary=True).get("branch") == "receiver"
COMMON_TYPES = {kind for kind in vars(sa.types).values() if isinstance(kind, type)}
METADATA = (ReceiverBase if IS_OURS else Base).metadata


def render_item(kind: str, item: Any, _autogen_context: Any) -> Any:
    """What stands in a migration for a type or a default, where Alembic would write what is not true everywhere.

    A migration must not import the application: an own type stands as the common type that keeps it. A truth value
    stands as such: what one database calls it is no boolean to the other.
    """
    if kind == "type" and isinstance(item, sa.types.TypeDecorator) and type(item.impl_instance) in COMMON_TYPES:
        return _written(item.impl_instance)
    if kind == "server_default" and isinstance(item.arg, sa.False_ | sa.True_):
        return "sa.false()" if isinstance(item.arg, sa.False_) else "sa.true()"
    return False


def _written(common: sa.types.TypeEngine[Any]) -> str:
    variants = (f'.with_variant(sa.{kept!r}, "{name}")' for name, kept in common._variant_mapping.items())
    return f"sa.{common!r}{''.join(variants)}"


def include_name(name: str | None, kind: str, _parents: Any) -> bool:
    """Only tables that the models know. Those of other applications in the same database are never touched."""
    return kind != "table" or name in METADATA.tables


def refuse_foreign_tables(connection: Connection) -> None:
    """Before the first migration nothing has a name of ours. Raises CommandError, which is one line on the terminal."""
    database = sa.inspect(connection)
    taken = {*database.get_table_names(), *database.get_view_names()}
    ours = {*ReceiverBase.metadata.tables, *Base.metadata.tables}
    if VERSION_TABLE not in taken and (foreign := sorted(taken & ours)):
        raise CommandError(
            f"Another application has {', '.join(foreign)} here, which are names of the receiver's. "
            "Give the receiver a database or a schema of its own (options=-csearch_path%3Dname)."
        )


def wait_for_ever(connection: Connection) -> None:
    """A migration may take as long as it takes, and the lock is held for as long."""
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def take_lock(guard: Connection) -> None:
    """Wait for the lock without a snapshot, and hold it without one.

    `CREATE INDEX CONCURRENTLY` waits until no other transaction has a snapshot that is older. A query that waits has
    one, so the lock is asked for again and again. PostgreSQL keeps the last result of a transaction open, with its
    snapshot, until the next statement.
    """
    while not guard.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(MIGRATION_LOCK))):
        guard.rollback()
        time.sleep(PAUSE_SECONDS)
    guard.exec_driver_sql("SET LOCAL lock_timeout = 0")


@contextmanager
def turn_on_postgresql(engine: Engine) -> Iterator[Connection]:
    """A connection without a transaction, while another one holds the lock.

    So each migration has a transaction of its own, and an index can be built outside any. A transaction holds the lock,
    since behind a pooler no session would.
    """
    with engine.connect() as guard, engine.connect() as connection:
        sa.event.listen(guard, "begin", wait_for_ever)
        sa.event.listen(connection, "begin", wait_for_ever)
        take_lock(guard)
        try:
            refuse_foreign_tables(connection)
            connection.rollback()
            yield connection
        finally:
            connection.detach()  # a migration may have changed settings of the session


@contextmanager
def turn_on_sqlite(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction, which holds the lock: a migration that fails leaves nothing behind."""
    with engine.execution_options(sqlite_begin="IMMEDIATE").begin() as connection:
        refuse_foreign_tables(connection)
        yield connection


def run() -> None:
    engine = current_app.extensions["inbox"].engine
    on_postgresql = engine.dialect.name == "postgresql"
    take_turn = turn_on_postgresql if on_postgresql else turn_on_sqlite
    try:
        with take_turn(engine) as connection:
            context.configure(
                connection=connection,
                version_table=VERSION_TABLE,
                include_name=include_name,
                target_metadata=METADATA,
                render_item=render_item,
                render_as_batch=True,  # what is written on one database runs on the other
                transactional_ddl=True,
                transaction_per_migration=on_postgresql,
                compare_type=True,
            )
            with context.begin_transaction():
                context.run_migrations()
    except SQLAlchemyError as error:
        raise CommandError(told(error)) from error


run()
