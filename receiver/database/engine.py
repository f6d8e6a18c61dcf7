"""How SQLite and PostgreSQL are made to keep the same promises. It knows no table.

- An acknowledged transaction survives a power loss: `synchronous=FULL` and `synchronous_commit=on`, whatever the
  server's default is. A session gets its settings when it begins. Behind a pooler in transaction mode no session is
  ours, so each transaction sets them for itself.
- A transaction begins when SQLAlchemy says so. The transaction handling of SQLite's driver is off, because it breaks
  savepoints. `writing()` takes SQLite's write lock at BEGIN: a transaction that reads first and asks for the lock later
  can only fail.
- Nothing waits for ever: locks, statements and connections have a time limit.
- Moments are UTC going in and coming out, and "now" for leases is the database's own clock.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect, Engine, make_url
from sqlalchemy.orm import Session

from receiver.database.causes import UnsuitableServer, is_lock_conflict
from receiver.private_files import private_database
from receiver.protocol.json_body import parse_value, to_json

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
"""The settings of every transaction on PostgreSQL, whatever the default of the server, the database or the role is."""
SETTINGS_OF_THIS_TRANSACTION = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in SESSION_SETTINGS.items()
)
APPLICATION_NAME = "senang-receiver"
"""By which our connections are counted, and which `pg_stat_activity` shows. An address may name another one."""
_POOLER = "pooler"
_NO_WAY_PAST = "none"


def through_pooler(url: str, direct_url: str) -> str:
    """The URL with a note that it leads through a pooler in transaction mode, and which way leads past it, if any.

    `make_engine()` removes the note again. So every engine of this URL is the right one.
    """
    return make_url(url).update_query_dict({_POOLER: direct_url or _NO_WAY_PAST}).render_as_string(hide_password=False)


def has_pooler(url: str) -> bool:
    """Whether the URL has that note."""
    return _POOLER in make_url(url).query


def make_engine(url: str, connections: int = 2) -> Engine:
    """An engine that keeps our promises, with so many connections at most. One stays open, the others while in use.

    Only this engine is changed: a partner's own engines stay as they are.
    """
    options = _options(url) | {"pool_size": 1, "max_overflow": connections - 1, "pool_timeout": LOCK_TIMEOUT_SECONDS}
    engine = sa.create_engine(**options, json_serializer=to_json, json_deserializer=parse_value)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "do_connect", _keep_private)
        sa.event.listen(engine, "connect", _set_up_file)
        sa.event.listen(engine, "begin", _begin_sqlite)
        sa.event.listen(engine, "reset", _end_transaction)
        return engine
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
        }
    address = make_url(url)
    way_past = address.query.get(_POOLER)
    if way_past is None:
        # Theirs first: a search_path of theirs holds, and of what we promise nothing is undone.
        theirs = " ".join(address.normalized_query.get("options", ())) or os.environ.get("PGOPTIONS", "")
        ours = ("-c " + f"{name}={value}".replace(" ", "\\ ") for name, value in SESSION_SETTINGS.items())
        session: dict[str, Any] = {"options": " ".join([theirs, *ours]).strip()}
    else:
        # A statement's name is known to one session alone. PGOPTIONS would be options, too.
        session = {"prepare_threshold": None, "options": ""}
    return {
        "url": address.difference_update_query([_POOLER]),
        "hide_parameters": True,
        "execution_options": {_POOLER: way_past},
        "pool_pre_ping": True,
        # A peer that went away without a word is given up after a quarter of a minute, even within a COMMIT.
        "connect_args": {
            "connect_timeout": 2,
            "client_encoding": "utf8",
            "fallback_application_name": APPLICATION_NAME,
            **session,
            "keepalives_idle": 5,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,  # milliseconds
        },
    }


def _keep_private(_dialect: Dialect, _record: Any, arguments: Any, _options: Any) -> None:
    private_database(Path(arguments[0]))


def _set_up_file(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={int(LOCK_TIMEOUT_SECONDS * 1000)}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",  # what is deleted is overwritten, so that a person's data is gone when it is erased
        "recursive_triggers=ON",  # or INSERT OR REPLACE deletes without asking the triggers
    ):
        connection.execute(f"PRAGMA {pragma}")


def _check_settings(connection: Any, _record: Any) -> None:
    """Check that the connection can keep our promises. Raises UnsuitableServer."""
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
    """Take the lock, by asking again and again. SQLite's own waiting would block all that gevent runs beside it."""
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
    """Cancel the statement at the server. Else a statement that a time limit interrupts would run on, with locks."""
    if error is not None and not isinstance(error, Exception):
        with suppress(Exception):
            connection.cancel_safe(timeout=LOCK_TIMEOUT_SECONDS)


def _end_transaction(connection: Any, _record: Any, _state: Any) -> None:
    """Roll back. When SQLite refuses a commit, it leaves the transaction open, but SQLAlchemy counts it as ended."""
    if connection.in_transaction:
        connection.rollback()


def is_pooled(engine: Engine) -> bool:
    """Whether its connections lead through a pooler in transaction mode."""
    return engine.get_execution_options().get(_POOLER) is not None


def knows_sessions(engine: Engine) -> bool:
    """Whether its server is PostgreSQL, and what it says of its sessions is about ours, not about a pooler's."""
    return engine.dialect.name == "postgresql" and not is_pooled(engine)


def past_the_pooler(engine: Engine) -> Engine | None:
    """An engine whose sessions are ours alone: this one, or the one past the pooler. None when no way is known."""
    way_past = engine.get_execution_options().get(_POOLER)
    if way_past is None:
        return engine
    return None if way_past == _NO_WAY_PAST else make_engine(way_past)


def own_connection(engine: Engine) -> Any:
    """A connection of the driver, set up like all others. No pool knows it, so the caller must close it.

    If `is_pooled()`, the caller must begin each transaction with SETTINGS_OF_THIS_TRANSACTION.
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
