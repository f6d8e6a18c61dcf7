"""How SQLite and PostgreSQL are made to keep the same promises. A leaf: it knows no table.

- An acknowledged transaction survives a power loss: `synchronous=FULL` and `synchronous_commit=on`, whatever
  the server's own default says.
- A transaction begins when SQLAlchemy says so. SQLite's driver is told to keep its hands off, because its
  own transaction handling makes savepoints lie. `writing()` takes SQLite's write lock at BEGIN: a transaction
  that reads first and asks for the lock later can only fail.
- Nothing waits for ever: locks, statements and connections have a time limit.
- Moments are UTC going in and coming out, and "now" for leases is the database's own clock.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect, Engine, make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import Pool
from sqlalchemy.sql.functions import FunctionElement

LOCK_TIMEOUT_SECONDS = 2.0
STATEMENT_TIMEOUT_SECONDS = 30.0
ROOT = Path(__file__).resolve().parent.parent

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A 64-bit key. SQLite only counts up a column that is declared INTEGER."""


class Base(DeclarativeBase):
    """Every table's base, the receiver's and the partner's: one metadata, one chain of migrations."""


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment in UTC. SQLite gives naive values back; this gives them their zone, and refuses naive input."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class database_now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock plus `seconds` (leases must not depend on the clocks of many machines)."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(sa.bindparam(None, float(seconds), sa.Float(), unique=True))


@compiles(database_now, "sqlite")
def _sqlite_now(element: database_now, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds') || '000')"


@compiles(database_now, "postgresql")
def _postgresql_now(element: database_now, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    # As a subquery it is asked once: compared with a volatile function itself, no index could bound the rows.
    return f"(SELECT clock_timestamp() + ({seconds}) * interval '1 second')"


def normalise_url(text: str) -> str:
    """The SQLAlchemy URL for what a platform or a person writes.

    `postgres://` and `postgresql://` get the psycopg driver; a relative SQLite path is taken from the
    project's root, so that every process opens the same file wherever it was started.
    """
    for scheme in ("postgres://", "postgresql://"):
        if text.startswith(scheme):
            return "postgresql+psycopg://" + text.removeprefix(scheme)
    url = make_url(text)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        path = (ROOT / url.database).resolve()
        return url.set(database=str(path)).render_as_string(hide_password=False)
    return text


def engine_options(url: str) -> dict[str, Any]:
    """What `create_engine` is told for this URL. Error messages never quote values."""
    if make_url(url).get_backend_name() == "sqlite":
        Path(make_url(url).database or "").parent.mkdir(parents=True, exist_ok=True)
        return {
            "url": url,
            "hide_parameters": True,
            "connect_args": {"timeout": LOCK_TIMEOUT_SECONDS, "check_same_thread": False},
            "pool_timeout": LOCK_TIMEOUT_SECONDS,
        }
    options = (
        f"-c synchronous_commit=on -c lock_timeout={int(LOCK_TIMEOUT_SECONDS * 1000)}"
        f" -c idle_in_transaction_session_timeout=0 -c statement_timeout={int(STATEMENT_TIMEOUT_SECONDS * 1000)}"
        " -c timezone=UTC -c client_connection_check_interval=1000"  # a killed worker's statement ends with it
    )
    return {
        "url": url,
        "hide_parameters": True,
        "pool_pre_ping": True,
        "pool_timeout": LOCK_TIMEOUT_SECONDS,
        # A peer that went away without a word is given up after a quarter of a minute, even within a COMMIT.
        "connect_args": {
            "connect_timeout": 2,
            "options": options,
            "keepalives_idle": 5,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,  # milliseconds
        },
    }


@sa.event.listens_for(Engine, "connect")
def _on_connect(connection: Any, _record: Any) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={int(LOCK_TIMEOUT_SECONDS * 1000)}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "recursive_triggers=ON",  # or INSERT OR REPLACE deletes without asking the triggers
    ):
        connection.execute(f"PRAGMA {pragma}")


@sa.event.listens_for(Engine, "begin")
def _on_begin(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")


@sa.event.listens_for(Pool, "invalidate")
def _on_invalidate(connection: Any, _record: Any, error: BaseException | None) -> None:
    """A statement that a time limit interrupts goes on at the server, with its locks, unless the server is told."""
    interrupted = error is not None and not isinstance(error, Exception)
    if interrupted and isinstance(connection, psycopg.Connection):
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=LOCK_TIMEOUT_SECONDS)


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """One transaction that writes: committed at the end of the block, rolled back by an exception."""
    bound = engine.execution_options(sqlite_begin="IMMEDIATE")
    with Session(bound, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One transaction that only reads, all of it at one moment on SQLite."""
    with Session(engine) as session:
        yield session


def is_lock_conflict(error: sa.exc.DBAPIError) -> bool:
    """Whether another transaction merely was in the way: the same work may succeed when run again."""
    code = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or ""
    return code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or code in ("40001", "40P01", "55P03")
