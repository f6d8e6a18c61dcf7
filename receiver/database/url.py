"""What `DATABASE_URL` may say, and what is made of it.

Platforms and other people's tools write such addresses in many ways. Each either works or is refused with a sentence
that names what is wrong, and never a value: what looks like a port or an option may be the tail of a password. To add
a way of writing, add it to `_SCHEMES` or `_FOREIGN`.
"""

import re
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from receiver.private_files import make_private, private_folder

ROOT = Path(__file__).resolve().parents[2]
"""The project's folder."""
OWN_FOLDER = ROOT / "instance"
"""Made for the database by default."""
_POSTGRESQL = "postgresql+psycopg"
_SCHEMES = {
    "postgres": _POSTGRESQL,
    "postgresql": _POSTGRESQL,
    **{f"postgresql+{driver}": _POSTGRESQL for driver in ("psycopg", "psycopg2", "psycopg2cffi", "asyncpg", "pg8000")},
    **{f"postgres+{driver}": _POSTGRESQL for driver in ("psycopg", "psycopg2", "asyncpg")},
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "sqlite+aiosqlite": "sqlite",
}
"""Which driver an address needs; there is one for each database here, whatever the address asks for."""


def _spelt(name: str) -> str:
    """The name as one of its spellings, whether a tool writes pool_size, poolSize or pool-size."""
    return name.lower().replace("_", "").replace("-", "")


_SEARCH_PATH = "write options=-csearch_path%3Dname"
_TLS = "write sslmode=require or sslmode=verify-full"
_POOL = "leave it out, and set DATABASE_CONNECTIONS if you need to"
_STATEMENTS = "leave it out; if a pooler is the reason for it, set DATABASE_POOLER=1"
_OURS = "leave it out: the receiver sets it for each session"
_NOTHING = "leave it out"
_FOREIGN = {
    "leave it out, and set DATABASE_POOLER=1": ("pgbouncer", "supa"),
    _SEARCH_PATH: ("schema", "currentSchema", "search_path", "schema_search_path", "searchpath"),
    _TLS: (
        "ssl", "sslaccept", "sslfactory", "ssl_require", "ssl_mode", "ssl-mode", "sslidentity", "uselibpqcompat", "tls",
    ),
    _POOL: (
        "connection_limit", "pool_timeout", "pool", "pool_size", "max_overflow", "pool_recycle", "pool_pre_ping",
        "pool_use_lifo", "checkout_timeout", "reaping_frequency", "idle_timeout", "max", "min", "max_connections",
        "min_size", "max_size", "pool_max_conns", "pool_min_conns", "pool_max_conn_lifetime", "pool_max_conn_idle_time",
        "pool_health_check_period", "conn_max_age", "conn_health_checks", "idleTimeoutMillis",
        "max_idle_connection_lifetime", "max_connection_lifetime",
    ),
    _STATEMENTS: (
        "prepared_statement_cache_size", "prepared_statement_name_func", "statement_cache_size", "prepared_statements",
        "statement_limit", "prepareThreshold", "prepare_threshold", "preparedStatementCacheQueries", "prepare",
        "preferQueryMode", "default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity",
        "statement-cache-capacity", "binary_parameters", "disable_server_side_cursors", "advisory_locks",
    ),
    _OURS: (
        "encoding", "charset", "characterEncoding", "timezone", "statement_timeout", "lock_timeout", "query_timeout",
        "idle_in_transaction_session_timeout", "min_messages", "command_timeout",
    ),
    "write target_session_attrs": ("targetServerType",),
    "write application_name": ("applicationName",),
    "write connect_timeout": ("loginTimeout", "connectTimeout"),
    _NOTHING: (
        "adapter", "engine", "driver", "echo", "socket_timeout", "socketTimeout", "tcpKeepAlive", "keepalive",
        "reWriteBatchedInserts", "stringtype", "defaultRowFetchSize", "binaryTransfer", "autosave", "loadBalanceHosts",
        "variables", "server_settings", "server_version", "serverVersion", "async_fallback", "executemany_mode",
        "use_native_hstore", "timeout", "parseTime", "autocommit", "isolation_level", "readOnly", "directConnection",
    ),
}  # fmt: skip
_HINTS = {_spelt(name): what for what, names in _FOREIGN.items() for name in names}
"""What to do about the parameters of Prisma, Rails, Django, SQLAlchemy, asyncpg, JDBC, Go, Node and others."""
_POOLERS = {
    r".*\.pooler\.supabase\.com:\d+|.*:6543": "Supavisor",
    r"pgbouncer\..*|.*:6432": "PgBouncer",
    r".*-pooler\..*": "Neon's pooler",
    r".*:25061": "DigitalOcean's pool",
}
"""Who pools the connections at such a host and port."""
_CHOICES = {
    "sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
    "gssencmode": {"disable", "prefer", "require"},
    "channel_binding": {"disable", "prefer", "require"},
    "target_session_attrs": {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"},
}
_LISTS = {"host", "hostaddr", "port", "options"}
_NUMBERS = {
    "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
}  # fmt: skip
_ESCAPE = "In a name or a password, write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25"


class UnusableUrl(ArgumentError):
    """The address can't be used. The message says why, without a value of it."""


def normalise_url(text: str) -> str:
    """The SQLAlchemy URL for what a platform or a person writes. Raises UnusableUrl.

    Every scheme of PostgreSQL's gets the psycopg driver; a relative SQLite path is taken from the project's root, so
    that every process opens the same file wherever it was started.
    """
    if text.strip().lower().startswith("jdbc:"):
        raise UnusableUrl("`jdbc:` is Java's: leave it out, and write postgresql://user:password@host/database.")
    scheme, colon, rest = text.strip().partition("://")
    driver = _SCHEMES.get(scheme.lower())
    if not colon or driver is None:
        raise UnusableUrl(
            "it must begin with postgresql:// or sqlite:///, without quotation marks."
            if re.match("[\"']|sqlite|postgres", scheme.lower())
            else "it is no address of a PostgreSQL or SQLite database: it must begin with postgresql:// or sqlite:///."
        )
    try:
        url = make_url(f"{driver}://{rest}")
    except (ArgumentError, ValueError):
        raise UnusableUrl(f"its port is no number. {_ESCAPE}.") from None
    checked = _sqlite(url) if driver == "sqlite" else _postgresql(url)
    return checked.render_as_string(hide_password=False)


def pooler_of(url: URL) -> str | None:
    """The pooler whose addresses have this form. None if it looks like the address of a server."""
    place = f"{url.host or ''}:{url.port or 5432}".lower()
    return next((pooler for form, pooler in _POOLERS.items() if re.fullmatch(form, place)), None)


def _sqlite(url: URL) -> URL:
    if url.host or url.port or url.username:
        raise UnusableUrl("a path of SQLite's follows three slashes, sqlite:///file.db, or four if it is absolute.")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise UnusableUrl("SQLite needs the path of a file: in memory every event would be lost.")
    if url.query:
        raise UnusableUrl("an address of SQLite's takes no options here.")
    try:
        path = (ROOT / url.database).resolve()
        private_folder(path.parent)
        if path.parent == OWN_FOLDER:
            make_private(path.parent)  # an earlier release left it open
        is_folder = path.is_dir()
    except (OSError, ValueError) as error:
        raise UnusableUrl(f"there can be no such file ({type(error).__name__}).") from None
    if is_folder:
        raise UnusableUrl("SQLite needs the path of a file, and this is a folder.")
    return url.set(database=str(path))


def _postgresql(url: URL) -> URL:
    if "@" in (url.host or ""):
        raise UnusableUrl(f"there is more than one @ in it. {_ESCAPE}.")
    ports = [] if url.port is None else [str(url.port)]
    for listed in url.normalized_query.get("port", ()):
        ports += filter(None, listed.split(","))
    if not all(port.isdecimal() and 0 < int(port[:6]) < 65536 for port in ports):
        raise UnusableUrl(f"there is no such port. {_ESCAPE}.")
    hosts = [url.host or "", *url.normalized_query.get("host", ()), *url.normalized_query.get("hostaddr", ())]
    if not all(_can_be_a_host(host) for value in hosts for host in value.split(",")):
        raise UnusableUrl(f"there can be no such host. {_ESCAPE}.")
    if not (url.database or {"dbname", "service"} & set(url.query)):
        raise UnusableUrl("it names no database: write postgresql://user:password@host/database.")
    # psycopg is a tenth of a start. Only a process whose database is PostgreSQL needs it.
    from psycopg import pq

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if foreign := [name for name in url.query if name not in known and _spelt(name) in _HINTS]:
        hints = "; ".join(f"`{name}`: {_HINTS[_spelt(name)]}" for name in foreign)
        raise UnusableUrl(f"PostgreSQL does not know what another tool wrote there. {hints}.")
    if set(url.query) - known:
        raise UnusableUrl(f"it has an option that PostgreSQL does not know. {_ESCAPE}.")
    for name, values in url.normalized_query.items():
        if len(values) > 1 and name not in _LISTS:
            raise UnusableUrl(f"its {name} stands there twice.")
        if name in _NUMBERS and not values[0].isdecimal():
            raise UnusableUrl(f"its {name} is no whole number.")
    for name, choices in _CHOICES.items():
        if not set(url.normalized_query.get(name, ())) <= choices:
            raise UnusableUrl(f"its {name} is none of {', '.join(sorted(choices))}.")
    return url


def _can_be_a_host(text: str) -> bool:
    """A name, an address, or the folder of a socket; empty means the default."""
    if not text or text.startswith(("/", "@")):
        return True
    try:
        return bool(text.encode("idna"))
    except UnicodeError:
        return False
