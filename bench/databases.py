"""A database of its own for each receiver, all with our migrations, and none paying for what another one left behind.

A checkpoint before each round writes out what the last one dirtied. PostgreSQL runs with its own defaults but for two:
more connections, for all receivers stay up; and no autovacuum, which would come down upon whoever is measured then.
Whatever makes a commit durable is left alone, and checked.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import psycopg
import sqlalchemy as sa

from bench.pages import migrate
from receiver.database.url import normalise_url
from tests.receiver.databases import BreakablePostgres

SETTINGS = {"max_connections": "400", "autovacuum": "off"}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class NotDurable(Exception):
    """The server would answer before the disk does."""


class Database:
    """One receiver's database. `server` is the process that serves it, or None for SQLite."""

    def __init__(self, url: str, server: int | None = None) -> None:
        self.url, self.server = url, server
        self._engine = sa.create_engine(normalise_url(url), poolclass=sa.pool.NullPool)

    def last_row(self) -> int:
        """The number of the newest event."""
        return self._scalar("SELECT coalesce(max(id), 0) FROM events")

    def rows_after(self, row: int) -> int:
        """How many events have come since."""
        return self._scalar("SELECT count(*) FROM events WHERE id > :row", row=row)

    def pending(self) -> int:
        """How many events wait for a worker."""
        return self._scalar("SELECT count(*) FROM events WHERE state = 'pending'")

    def checkpoint(self) -> None:
        """Have the disk up to date."""
        if self.server is not None:
            _execute(self.url, "CHECKPOINT")

    def _scalar(self, statement: str, **parameters: int) -> int:
        with self._engine.connect() as connection:
            return int(connection.scalar(sa.text(statement), parameters) or 0)


@contextmanager
def databases(kind: str, count: int, folder: Path) -> Iterator[list[Database]]:
    """So many empty, migrated databases."""
    if kind == "sqlite":
        urls = [f"sqlite:///{folder / str(number)}.db" for number in range(count)]
        for url in urls:
            migrate(url)
        yield [Database(url) for url in urls]
        return
    with ExitStack() as stack:
        server = BreakablePostgres(folder / "postgresql", lambda url, _package: _prepare(url))
        stack.callback(server.stop)
        with server.migrated("app"):
            pass  # the others are copies of what is prepared now
        server.kill()
        server.start()
        urls = [stack.enter_context(server.migrated("app")) for _ in range(count)]
        root = _server_of(urls[0])
        yield [Database(url, root) for url in urls]


def postgresql_version(url: str) -> str:
    """In words. Raises NotDurable when a commit is not."""
    with psycopg.connect(url) as connection:
        for name, expected in DURABLE.items():
            if connection.execute(f"SHOW {name}").fetchone() != (expected,):
                raise NotDurable(name)
        buffers = connection.execute("SHOW shared_buffers").fetchone()
        version = connection.info.server_version
    changed = ", ".join(f"{name}={value}" for name, value in {**SETTINGS, **DURABLE}.items())
    return f"{version // 10000}.{version % 10000}, shared_buffers={buffers[0] if buffers else '?'}, {changed}"


def _prepare(url: str) -> None:
    """Build the schema, and have all on the disk that a killed server would have to recover."""
    migrate(url)
    for name, value in SETTINGS.items():
        _execute(url, f"ALTER SYSTEM SET {name} = '{value}'")
    _execute(url, "CHECKPOINT")


def _server_of(url: str) -> int:
    with psycopg.connect(url) as connection:
        return int(psutil.Process(connection.info.backend_pid).ppid())


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
