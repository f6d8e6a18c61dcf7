"""How SQLite and PostgreSQL are made to keep the same promises. It knows no table.

- An acknowledged transaction survives a power loss: `synchronous=FULL` and `synchronous_commit=on`, whatever
  the server's own default says. A session gets its settings when it begins. Behind a pooler in transaction mode no
  session is ours, so there each transaction sets them for itself.
- A transaction begins when SQLAlchemy says so. SQLite's driver is told to keep its hands off, because its
  own transaction handling makes savepoints lie. `writing()` takes SQLite's write lock at BEGIN: a transaction
  that reads first and asks for the lock later can only fail.
- Nothing waits for ever: locks, statements and connections have a time limit.
- Moments are UTC going in and coming out, and "now" for leases is the database's own clock.
"""

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection, Dialect, Engine, make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql.functions import FunctionElement

from app.database_url import ROOT as ROOT
from app.pipelined import PipelinedConnection
from app.private_files import private_database

LOCK_TIMEOUT_SECONDS = 2.0
LOCK_RETRY_SECONDS = 0.005
STATEMENT_TIMEOUT_SECONDS = 30.0
SESSION_SETTINGS = {
    "synchronous_commit": "on",
    "lock_timeout": f"{int(LOCK_TIMEOUT_SECONDS * 1000)}ms",
    "idle_in_transaction_session_timeout": "0",
    "statement_timeout": f"{int(STATEMENT_TIMEOUT_SECONDS * 1000)}ms",
    "timezone": "UTC",
    "default_transaction_isolation": "read committed",
    "standard_conforming_strings": "on",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "client_connection_check_interval": "1s",  # a killed worker's statement ends with it
}
"""What holds in every transaction on PostgreSQL, whatever the server, the database or the role has as its default."""
SETTINGS_OF_THIS_TRANSACTION = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in SESSION_SETTINGS.items()
)
_POOLER = "pooler"
_NO_WAY_PAST = "none"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A 64-bit key. SQLite only counts up a column that is declared INTEGER."""


class Base(DeclarativeBase):
    """Every table's base, the receiver's and the partner's: one metadata, one chain of migrations."""


_MOMENT_LENGTH = len("0001-01-01 00:00:00.000000")


class _SqliteMoment(sqlite.DATETIME):
    """A moment as text. Years below 1000 were once written with fewer digits: such rows can still be read.

    What is no moment at all reads as the first of all moments, or one row that somebody has spoilt would take every
    page and every batch that it is part of.
    """

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Reads a column's value."""

        read: Any = super().result_processor(dialect, coltype)

        def process(value: str | None) -> Any:
            try:
                return read(value.zfill(_MOMENT_LENGTH) if value and not value[:4].isdigit() else value)
            except ValueError:
                return datetime.min.replace(tzinfo=UTC)

        return process


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment in UTC. SQLite gives naive values back; this gives them their zone, and refuses naive input."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """What keeps it."""
        if dialect.name == "sqlite":
            return _SqliteMoment()  # type: ignore[no-untyped-call]
        return super().load_dialect_impl(dialect)

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


class _SqliteUuid(sa.Uuid[UUID]):
    """What is no UUID reads as the one of zeros: nothing is sealed for that, so the row alone is spoilt."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Reads a column's value."""
        # SQLAlchemy does not type it.
        read: Any = super().result_processor(dialect, coltype)  # type: ignore[no-untyped-call]

        def process(value: Any) -> UUID | None:
            try:
                return cast(UUID | None, read(value))
            except (ValueError, TypeError, AttributeError):  # SQLite keeps a value of any type in any column
                return UUID(int=0)

        return process


class RowUuid(sa.types.TypeDecorator[UUID]):
    """A UUID. One row that somebody has spoilt takes no page and no batch that it is part of."""

    impl = sa.Uuid
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """What keeps it."""
        return _SqliteUuid() if dialect.name == "sqlite" else super().load_dialect_impl(dialect)


class database_now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock plus `seconds` (leases must not depend on the clocks of many machines)."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, seconds: float | sa.BindParameter[float] = 0.0) -> None:
        named = isinstance(seconds, sa.BindParameter)
        super().__init__(seconds if named else sa.bindparam(None, seconds, sa.Float(), unique=True))


def database_now_sql(dialect: str, seconds: str) -> str:
    """The same as SQL text; `seconds` is an expression of a number."""
    if dialect == "sqlite":
        return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds') || '000')"
    # As a subquery it is asked once: compared with a volatile function itself, no index could bound the rows.
    return f"(SELECT clock_timestamp() + ({seconds}) * interval '1 second')"


PLACEHOLDER = {"postgresql": "%s", "sqlite": "?"}
"""What stands for a value in SQL text that the driver gets as it is."""


def driver_moment(dialect: str, moment: datetime) -> datetime | str:
    """A moment in UTC as the driver takes it. On SQLite it is text, in the form that SQLAlchemy reads."""
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds") if dialect == "sqlite" else moment


def execute_text(connection: Connection, statement: str, parameters: tuple[Any, ...]) -> None:
    """Execute one statement of our own, as it stands, of which nobody wants rows or a count. Raises StatementError.

    On PostgreSQL by the driver itself: SQLAlchemy would take as long again.
    """
    driver = connection.connection.driver_connection
    if not isinstance(driver, PipelinedConnection):
        connection.exec_driver_sql(statement, parameters)
        return
    if not connection.in_transaction():
        connection.begin()
    try:
        driver.execute_text(statement, parameters)
    except Exception as error:
        if driver.closed:
            connection.invalidate(error)
        raise sa.exc.DBAPIError.instance(
            statement, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=driver.closed
        ) from error
    except BaseException as interruption:
        connection.invalidate(interruption)  # nobody knows what it would answer next
        raise


@compiles(database_now)
def _compiled_now(element: database_now, compiler: Any, **kw: Any) -> str:
    return database_now_sql(compiler.dialect.name, compiler.process(element.clauses, **kw))


def through_pooler(url: str, direct_url: str) -> str:
    """The URL with a note that it leads through a pooler in transaction mode, and which way leads past it, if any.

    `make_engine()` takes the note off again, so whoever makes an engine of the URL makes the right one.
    """
    return make_url(url).update_query_dict({_POOLER: direct_url or _NO_WAY_PAST}).render_as_string(hide_password=False)


def make_engine(url: str) -> Engine:
    """An engine that keeps our promises. They hang on this engine alone: a partner's own engines stay as they are."""
    engine = sa.create_engine(**_options(url))
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "do_connect", _keep_private)
        sa.event.listen(engine, "connect", _set_up_file)
        sa.event.listen(engine, "begin", _begin_sqlite)
        sa.event.listen(engine, "reset", _end_transaction)
        return engine
    sa.event.listen(engine, "do_connect", _connect)
    sa.event.listen(engine, "connect", _check_settings)
    sa.event.listen(engine, "invalidate", _cancel_interrupted)
    if is_pooled(engine):
        sa.event.listen(engine, "begin", _set_up_transaction)
    return engine


def _options(url: str) -> dict[str, Any]:
    """What `create_engine` is told for this URL. Error messages never quote values."""
    if make_url(url).get_backend_name() == "sqlite":
        return {
            "url": url,
            "hide_parameters": True,
            "connect_args": {"timeout": LOCK_TIMEOUT_SECONDS, "check_same_thread": False},
            "pool_timeout": LOCK_TIMEOUT_SECONDS,
        }
    address = make_url(url)
    way_past = address.query.get(_POOLER)
    if way_past is None:
        # Theirs first: a search_path of theirs holds, and of what we promise nothing is undone.
        theirs = " ".join(address.normalized_query.get("options", ())) or os.environ.get("PGOPTIONS", "")
        ours = ("-c " + f"{name}={value}".replace(" ", "\\ ") for name, value in SESSION_SETTINGS.items())
        session: dict[str, Any] = {"options": " ".join([theirs, *ours]).strip()}
    else:
        session = {"prepare_threshold": None}  # a statement's name is known to one session alone
    return {
        "url": address.difference_update_query([_POOLER]),
        "hide_parameters": True,
        "execution_options": {_POOLER: way_past},
        "pool_pre_ping": True,
        "pool_timeout": LOCK_TIMEOUT_SECONDS,
        # A peer that went away without a word is given up after a quarter of a minute, even within a COMMIT.
        "connect_args": {
            "connect_timeout": 2,
            "client_encoding": "utf8",
            **session,
            "keepalives_idle": 5,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,  # milliseconds
        },
    }


def _connect(_dialect: Dialect, _record: Any, arguments: Any, options: Any) -> PipelinedConnection:
    return PipelinedConnection.connect(*arguments, **options)


def _keep_private(_dialect: Dialect, _record: Any, arguments: Any, _options: Any) -> None:
    private_database(Path(arguments[0]))


def _set_up_file(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={int(LOCK_TIMEOUT_SECONDS * 1000)}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "recursive_triggers=ON",  # or INSERT OR REPLACE deletes without asking the triggers
    ):
        connection.execute(f"PRAGMA {pragma}")


class UnsuitableServer(sa.exc.InvalidRequestError):
    """This server, or what leads to it, can't keep what we promise. `reason` says which of its settings is wrong."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def _check_settings(connection: Any, _record: Any) -> None:
    """A connection that can't keep what we promise is none. Raises UnsuitableServer."""
    try:
        _judge_settings(connection)
    except BaseException:
        connection.close()  # no pool knows it yet
        raise


def _judge_settings(connection: Any) -> None:
    """What can't be set for a session must be right.

    A pooler may be told to swallow what a session is to begin with. Then nothing that we promise would hold. Behind a
    pooler that we know of, no session has settings of ours, and a transaction can't set its own isolation.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):
        raise UnsuitableServer("server_encoding", "The database's encoding must be UTF8: others can't hold every name.")
    connection.autocommit = True
    if connection.info.options:
        wanted = f"interval '{SESSION_SETTINGS['lock_timeout']}'"
        (holds,) = connection.execute(f"SELECT current_setting('lock_timeout')::interval = {wanted}").fetchone()
        if not holds:
            raise UnsuitableServer("pooler", "DATABASE_URL leads through a pooler: say so with DATABASE_POOLER=1.")
    elif connection.execute("SHOW default_transaction_isolation").fetchone() != ("read committed",):
        raise UnsuitableServer(
            "default_transaction_isolation", "Behind a pooler, default_transaction_isolation must be read committed."
        )
    connection.autocommit = False


def _set_up_transaction(connection: Connection) -> None:
    connection.exec_driver_sql(SETTINGS_OF_THIS_TRANSACTION).close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the lock, asking again and again: SQLite's own waiting would stop everything that gevent runs beside it."""
    mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    ends_at = time.monotonic() + LOCK_TIMEOUT_SECONDS
    connection.exec_driver_sql("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.exec_driver_sql(f"BEGIN {mode}")
                return
            except sa.exc.OperationalError as error:
                if not is_lock_conflict(error) or time.monotonic() > ends_at:
                    raise
            time.sleep(LOCK_RETRY_SECONDS)
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={int(LOCK_TIMEOUT_SECONDS * 1000)}")


def _cancel_interrupted(connection: Any, _record: Any, error: BaseException | None) -> None:
    """A statement that a time limit interrupts goes on at the server, with its locks, unless the server is told."""
    if error is not None and not isinstance(error, Exception):
        with suppress(Exception):
            connection.cancel_safe(timeout=LOCK_TIMEOUT_SECONDS)


def _end_transaction(connection: Any, _record: Any, _state: Any) -> None:
    """SQLite leaves a transaction open that it doesn't commit, and SQLAlchemy takes it for ended."""
    if connection.in_transaction:
        connection.rollback()


def is_pooled(engine: Engine) -> bool:
    """Whether its connections lead through a pooler in transaction mode."""
    return engine.get_execution_options().get(_POOLER) is not None


def past_the_pooler(engine: Engine) -> Engine | None:
    """An engine whose sessions are ours alone: this one, or the one past the pooler. None when no way is known."""
    way_past = engine.get_execution_options().get(_POOLER)
    if way_past is None:
        return engine
    return None if way_past == _NO_WAY_PAST else make_engine(way_past)


def own_connection(engine: Engine) -> Any:
    """A connection of the driver, set up like all others, which no pool knows: whoever takes it closes it.

    Where `is_pooled()`, whoever takes it also begins each transaction with SETTINGS_OF_THIS_TRANSACTION.
    """
    pooled = engine.raw_connection()
    connection = pooled.dbapi_connection
    pooled.detach()
    return connection


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
    code = _error_code(error.orig)
    return code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or code in ("40001", "40P01", "55P03")


def is_out_of_order(error: sa.exc.DBAPIError) -> bool:
    """Whether the database itself is at fault, not what it was asked: it is away, read-only, full or broken."""
    code = _error_code(error.orig)
    if error.connection_invalidated or not code:  # a connection that was never made has no code
        return isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) or error.connection_invalidated
    return code.startswith(_OUT_OF_ORDER) and code != _INTERRUPTED


_OUT_OF_ORDER = (
    "SQLITE_CANTOPEN", "SQLITE_CORRUPT", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_NOTADB",
    "SQLITE_PERM", "SQLITE_PROTOCOL", "SQLITE_READONLY", "08", "25006", "53", "57", "58", "XX",
)  # fmt: skip
_INTERRUPTED = "57014"
"""A statement was too slow, or somebody cancelled it."""


def _error_code(error: BaseException | None) -> str:
    """SQLite's name of the driver's error, or PostgreSQL's SQLSTATE."""
    return getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None) or ""


def cause_of(error: BaseException) -> str:
    """Why the database did not do it: a stable reason code, and its own code where it has one.

    `locked (55P03)`, `disk_full (SQLITE_FULL)`, `unreachable`. Never a value, a name or an address, which messages
    hold. It looks through the errors that were raised from one another. One that is not the database's is its class.
    """
    found: BaseException | None = error
    while found is not None:
        original = found.orig if isinstance(found, sa.exc.DBAPIError) else found
        if isinstance(original, psycopg.Error | sqlite3.Error):
            return _driver_cause(original)
        if isinstance(found, UnsuitableServer):
            return f"unsuitable_{found.reason}"
        if isinstance(found, TimeoutError | sa.exc.TimeoutError):
            return "timed_out" if isinstance(found, TimeoutError) else "no_free_connection"
        found = found.__cause__
    return _as_code(error)


def is_databases(error: BaseException) -> bool:
    """Whether the database or its driver raised it."""
    return isinstance(error, sa.exc.DBAPIError | psycopg.Error | sqlite3.Error)


def _driver_cause(error: psycopg.Error | sqlite3.Error) -> str:
    code = _error_code(error)
    reason = next((reason for start, reason in _REASONS.items() if code.startswith(start)), None)
    if reason is None:  # a connection that failed has no code, and SQLite has one code for many errors
        text = _QUOTED.sub("", str(error))
        reason = next((reason for pattern, reason in _WORDINGS.items() if re.search(pattern, text)), _as_code(error))
    return f"{reason} ({code})" if code else reason


def _as_code(error: BaseException) -> str:
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


_QUOTED = re.compile(r""""[^"]*"|'[^']*'""")
"""Names that are not ours, in a message."""
_REASONS = {
    "28P01": "refused_password",
    "28": "refused_login",
    "3D000": "no_such_database",
    "57P04": "no_such_database",
    "3F000": "missing_schema",
    "42P01": "missing_table",
    "42703": "missing_column",
    "42501": "not_permitted",
    "25006": "read_only",
    "53100": "disk_full",
    "53200": "out_of_memory",
    "53300": "too_many_connections",
    "40": "locked",
    "55P03": "locked",
    "57014": "timed_out",
    "25P03": "timed_out",
    "25P04": "timed_out",
    "57P05": "timed_out",
    "57P03": "starting_up",
    "57P": "shutting_down",
    "08": "unreachable",
    "58": "disk_error",
    "XX00": "corrupt",
    "23": "constraint",
    "SQLITE_BUSY": "locked",
    "SQLITE_LOCKED": "locked",
    "SQLITE_READONLY": "read_only",
    "SQLITE_FULL": "disk_full",
    "SQLITE_IOERR": "disk_error",
    "SQLITE_CANTOPEN": "cannot_open",
    "SQLITE_CORRUPT": "corrupt",
    "SQLITE_NOTADB": "corrupt",
    "SQLITE_PERM": "not_permitted",
    "SQLITE_AUTH": "not_permitted",
    "SQLITE_NOMEM": "out_of_memory",
    "SQLITE_INTERRUPT": "timed_out",
    "SQLITE_CONSTRAINT": "constraint",
}
"""By how SQLSTATE (PostgreSQL, appendix A) or SQLite's name begins; the first that fits."""
_WORDINGS = {
    r"password|fe_sendauth|SASL|SCRAM": "refused_password",
    r"no encryption|SSL off": "tls",  # in pg_hba.conf's refusal: the server wants TLS, and there is none
    r"pg_hba|role +does not exist|no such user|[Ll]ogin": "refused_login",
    r"database +does not exist|no such database": "no_such_database",
    r"too many (clients|connections)|connection slots|no more connections": "too_many_connections",
    r"shutting down|terminating connection|in recovery": "shutting_down",
    r"starting up|not yet accepting": "starting_up",
    r"closed the connection|connection has been closed|connection is (closed|lost)|EOF|reset by peer|Broken pipe": (
        "connection_lost"
    ),
    r"SSL|TLS|ssl|certificate": "tls",
    r"timed out|timeout": "timed_out",
    r"refused|resolve host|translate host|No such file|unreachable|No route|service .*not found": "unreachable",
    r"no such table": "missing_table",
    r"no such column|has no column": "missing_column",
    r"no such index": "missing_index",
    r"readonly": "read_only",
    r"connection (failed|is bad)": "not_connected",
}
"""By what a message says, without the names in it; the first that fits."""
