"""A real PostgreSQL for the tests, and the marks that say on which database a test runs."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from receiver.testing.postgresql import Postgres
from receiver.testing.waiting import eventually

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
postgresql_and_sqlite_in_long_runs = pytest.mark.parametrize(
    "database",
    [pytest.param("sqlite", marks=pytest.mark.soak), pytest.param("postgresql", marks=pytest.mark.postgresql)],
    indirect=True,
)
"""For tests that take seconds: `make test` runs them on PostgreSQL, `make soak` on SQLite too."""
on_own_postgresql = pytest.mark.parametrize("database", ["own postgresql"], indirect=True)
"""For tests that break their server: they ask for `own_postgres` beside it."""


def age_audit_rows(engine: sa.Engine, days: int, but_not: str = "") -> None:
    """Make every audit row so many days older. No writer can: the trigger is taken away and put back."""
    columns = [name for name in ("at", "recorded_at") if name != but_not]
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ALTER TABLE audit_log DISABLE TRIGGER audit_log_rows")
            older = ", ".join(f"{name} = {name} - interval '{days} days'" for name in columns)
            connection.exec_driver_sql(f"UPDATE audit_log SET {older}")
            connection.exec_driver_sql("ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_rows")
            return
        trigger = connection.scalar(sa.text("SELECT sql FROM sqlite_master WHERE name = 'audit_log_update'"))
        connection.exec_driver_sql("DROP TRIGGER audit_log_update")
        moment = "strftime('%Y-%m-%d %H:%M:%f', {0}, '-{1} days') || '000'"
        older = ", ".join(f"{name} = {moment.format(name, days)}" for name in columns)
        connection.exec_driver_sql(f"UPDATE audit_log SET {older}")
        connection.exec_driver_sql(str(trigger))


class BreakablePostgres(Postgres):
    """A server that a test may kill and start again, and whose disk it may fill."""

    def __init__(self, folder: Path, migrate: Callable[[str, str], None]) -> None:
        super().__init__(folder, migrate)
        self._folder = folder

    def limit_files(self, most: int | None) -> None:
        """Let no file grow beyond so many bytes. It holds for new connections: each is a process with its limits."""
        if shutil.which("prlimit") is None:
            pytest.skip("prlimit was not found: install the package util-linux")
        postmaster = int(self._server.get_pid())
        owner = Path(f"/proc/{postmaster}").stat()  # who alone may change its limits, even where we are root
        command = ["prlimit", f"--pid={postmaster}", f"--fsize={most or 'unlimited'}:"]
        subprocess.run(command, user=owner.st_uid, group=owner.st_gid, check=True)

    def kill(self) -> None:
        """Stop the server on the spot, its connections with it, as a crash would (an immediate shutdown)."""
        os.kill(int(self._server.get_pid()), signal.SIGQUIT)
        eventually(lambda: not (self._folder / "postmaster.pid").exists())

    def start(self) -> None:
        """Start the killed server again, under its old address."""
        self._server.start()
