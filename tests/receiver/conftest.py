"""What the engine's own tests need beside the fixtures of receiver/testing.

They run with handlers, tables and migrations of their own, in tests/receiver/partner: what a fork does in `app/`
breaks none of them. Settings that tests share are in tests/receiver/settings.py.
"""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa
from flask import Flask

from receiver.clock import Clock
from receiver.ingest.intake import Intake, intake_of
from receiver.store.inbox import Inbox
from receiver.testing import postgres_server
from tests.receiver.databases import BreakablePostgres
from tests.receiver.owners import is_fork
from tests.receiver.settings import PARTNER_PACKAGE

# It reads README and the docstrings of the handlers, too. What a fork writes there is its own business.
collect_ignore = ["test_references.py"] if is_fork() else []


@pytest.fixture(scope="session")
def partner_package() -> str:
    """Ours, whatever the fork's is called."""
    return PARTNER_PACKAGE


@pytest.fixture
def own_postgres() -> Iterator[BreakablePostgres]:
    """A PostgreSQL server for a test that breaks it."""
    with postgres_server(BreakablePostgres) as server:
        yield server


@pytest.fixture(scope="module")
def shared_database(sqlite_template: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a migrated SQLite database for a receiver that the tests of a module share."""
    return f"sqlite:///{shutil.copy(sqlite_template(PARTNER_PACKAGE), tmp_path_factory.mktemp('shared'))}"


@pytest.fixture
def intake(app: Flask) -> Intake:
    """What a web process has beside the inbox."""
    return intake_of(app)


@pytest.fixture
def early_in_a_minute(clock: Clock) -> None:
    """For what is counted by the minute: no other minute begins before the test is over."""
    clock.advance(seconds=60 - clock.now().second)


@pytest.fixture
def rows_read(inbox: Inbox) -> Callable[[Callable[[], object]], int]:
    """How many rows of `events` PostgreSQL reads while something is done, on one connection."""

    def read() -> int:
        with inbox.engine.begin() as connection:
            connection.execute(sa.text("SELECT pg_stat_force_next_flush()"))
        with inbox.engine.begin() as connection:
            total = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'events'"
            return int(connection.scalar(sa.text(total)) or 0)

    def count(do: Callable[[], object]) -> int:
        before = read()
        do()
        return read() - before

    return count


@pytest.fixture(autouse=True)
def _alarm_is_off() -> Iterator[None]:
    yield
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


# How long an example takes says something about the machine, not about the code.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")
