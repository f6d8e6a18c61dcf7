"""What `DATABASE_URL` may say, and what is made of it.

Platforms and other people's tools write such addresses in many ways. Each either works or is refused with a sentence
that names what is wrong, and never a value: what looks like a port or an option may be the tail of a password. To add
a way of writing, add it to `_SCHEMES` or `_HINTS`.
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
_HINTS = {
    "schema": "`schema` is Prisma's: write options=-csearch_path%3Dname",
    "pgbouncer": "`pgbouncer` is Prisma's: set DATABASE_POOLER=1",
    "connection_limit": "`connection_limit` is Prisma's: leave it out",
    "pool_timeout": "`pool_timeout` is Prisma's: leave it out",
    "ssl": "`ssl` is another driver's: write sslmode=require",
    "sslaccept": "`sslaccept` is Prisma's: write sslmode=require or sslmode=verify-full",
    "charset": "`charset` is MySQL's: leave it out",
    "prepared_statement_cache_size": "`prepared_statement_cache_size` is asyncpg's: leave it out",
}
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
    for name in url.query:
        if name in _HINTS:
            raise UnusableUrl(f"{_HINTS[name]}.")
    # psycopg is a tenth of a start. Only a process whose database is PostgreSQL needs it.
    from psycopg import pq

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
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
