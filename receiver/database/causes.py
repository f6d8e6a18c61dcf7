"""Why the database did not do something: a stable reason code for every error of SQLite and PostgreSQL, without values.

To name another cause, add a line to `_REASONS` (by code) or `_WORDINGS` (by words).
"""

import re
import sqlite3
import sys

import sqlalchemy as sa

UNSUITABLE_POOLER = "unsuitable_pooler"
"""The reason of every error that only somebody between us and the server can cause."""


class UnsuitableServer(sa.exc.InvalidRequestError):
    """This server, or the way to it, can't keep our promises. `reason` says which of its settings is wrong."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def is_lock_conflict(error: sa.exc.DBAPIError) -> bool:
    """Whether another transaction was in the way: the same work may succeed when it runs again."""
    code = _error_code(error.orig)
    return code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or code in ("40001", "40P01", "55P03")


def is_out_of_order(error: sa.exc.DBAPIError) -> bool:
    """Whether the database itself is at fault, not the statement: it is away, read-only, full or broken."""
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
    """Why the database did not do something: a stable reason code, and the database's own code if it has one.

    Examples: `locked (55P03)`, `disk_full (SQLITE_FULL)`, `unreachable`. It never has a value, a name or an address, as
    messages do. It follows the chain of errors. For an error that is not the database's, it gives the class.
    """
    found: BaseException | None = error
    while found is not None:
        original = found.orig if isinstance(found, sa.exc.DBAPIError) else found
        if isinstance(original, driver_errors()):
            return _driver_cause(original)
        if isinstance(found, UnsuitableServer):
            return f"unsuitable_{found.reason}"
        if isinstance(found, TimeoutError | sa.exc.TimeoutError):
            return "timed_out" if isinstance(found, TimeoutError) else "no_free_connection"
        found = found.__cause__
    return _as_code(error)


def is_databases(error: BaseException) -> bool:
    """Whether the database or its driver raised it."""
    return isinstance(error, (sa.exc.DBAPIError, *driver_errors()))


def driver_errors() -> tuple[type[Exception], ...]:
    """The bases of the errors that the drivers raise. psycopg is loaded only where the database is PostgreSQL."""
    psycopg = sys.modules.get("psycopg")
    return (sqlite3.Error, psycopg.Error) if psycopg else (sqlite3.Error,)


def _driver_cause(error: BaseException) -> str:
    code = _error_code(error)
    reason = next((reason for start, reason in _REASONS.items() if code.startswith(start)), None)
    if reason is None:  # a connection that failed has no code, and SQLite has one code for many errors
        text = _QUOTED.sub("", str(error))
        reason = next((reason for pattern, reason in _WORDINGS.items() if re.search(pattern, text)), _as_code(error))
    return f"{reason} ({code})" if code else reason


def _as_code(error: BaseException) -> str:
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


def told(error: BaseException) -> str:
    """The cause as a sentence for a person, and what to do where that is known."""
    cause = cause_of(error)
    return ". ".join(filter(None, [f"The database does not answer as it should: {cause}", remedy_for(cause)]))


def remedy_for(cause: str) -> str | None:
    """What to do about the cause, in a sentence. None where it depends."""
    return _REMEDIES.get(cause.partition(" ")[0])


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
    "26000": UNSUITABLE_POOLER,  # a statement that we prepared is unknown: this is another session
    "42P05": UNSUITABLE_POOLER,  # one that we did not prepare is there
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
"""The reason by the begin of the SQLSTATE (PostgreSQL, appendix A) or of SQLite's name. The first match counts."""
_WORDINGS = {
    r"unsupported startup parameter|command-line options": UNSUITABLE_POOLER,  # PgBouncer, Neon; Amazon's RDS Proxy
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
"""The reason by the words of a message, without the names in it. The first match counts."""
_REMEDIES = {
    UNSUITABLE_POOLER: "DATABASE_URL leads through a pooler. Set DATABASE_POOLER=1.",
    "too_many_connections": (
        "The server, the database or the role takes no more connections. Lower DATABASE_CONNECTIONS, run fewer "
        "processes, or let the database have more."
    ),
    "no_free_connection": "All connections of this process were in use. Raise DATABASE_CONNECTIONS.",
}
"""What to do, by the reason, where a setting of ours is the answer."""
