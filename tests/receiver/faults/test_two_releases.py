"""A rolling deploy: the previous release's processes beside the new one's, on one database.

The previous release is this checkout. The new one is a copy of it that expands the schema as a migration may: a column
that may be null, a column with a default in the database, and a table. Its code writes the first of the new columns.
"""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from receiver.store.models import Heartbeat, StoredEvent
from receiver.store.schema import locate
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs
from tests.receiver.faults.outcomes import all_processed, assert_exactly_once, count_events, traffic
from tests.receiver.processes import ROOT, running
from tests.receiver.settings import PARTNER_PACKAGE

PARTS = ("receiver", "tests", "wsgi.py", "gunicorn.conf.py")

MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "next_release"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("received_by", sa.String(length=20), nullable=True))
    op.add_column("events", sa.Column("priority", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "campaigns",
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    op.drop_table("campaigns")
    op.drop_column("events", "priority")
    op.drop_column("events", "received_by")
"""

EVENTS = '    __tablename__ = "events"\n'

COLUMNS = """
    received_by: Mapped[str | None] = mapped_column(sa.String(20))
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
"""

TABLE = '''

class Campaign(ReceiverBase):
    """A table that the previous release doesn't know."""

    __tablename__ = "campaigns"

    name: Mapped[str] = mapped_column(sa.String(50), primary_key=True)
'''

ENOUGH = 8
"""Deliveries in each stage of the deploy, at least."""
BY_THE_NEW_ONE = sa.literal_column("received_by") == "the new release"


@pytest.fixture
def settings(database, environment):
    own = {"DATABASE_URL": database, "EMBEDDED_WORKER": "0", "WEB_CONCURRENCY": "1"}
    return environment | own | {"LOG_LEVEL": "ERROR"}


@pytest.fixture
def old(settings):
    with running(settings) as receiver:
        yield receiver


@pytest.fixture
def new(settings, tmp_path):
    with running(settings, build_next_release(tmp_path / "next_release")) as receiver:
        yield receiver


def build_next_release(folder: Path) -> Path:
    """A copy of this checkout's code with one more migration and the models to match."""
    folder.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    scripts = ScriptDirectory.from_config(locate(Config(), PARTNER_PACKAGE))
    migration = MIGRATION.format(head=scripts.get_revision("receiver@head").revision)
    (folder / "receiver" / "migrations" / "versions" / "next_release.py").write_text(migration)
    models = folder / "receiver" / "store" / "models.py"
    before, after = models.read_text().split(EVENTS)
    models.write_text(before + EVENTS + COLUMNS + after + TABLE)
    for name, known, new in (
        ("arrivals", 'SAME_FOR_ALL = "', 'SAME_FOR_ALL = "received_by, '),
        ("arrivals_postgresql", "SELECT {KEPT}, ", "SELECT {KEPT}, 'the new release', "),
        ("arrivals_sqlite", "SELECT {KEPT}, ", "SELECT {KEPT}, 'the new release', "),
    ):
        module = folder / "receiver" / "ingest" / f"{name}.py"
        module.write_text(module.read_text().replace(known, new))
    return folder


def stop(process):
    """End the process as a platform does, and wait for it."""
    process.terminate()
    assert process.wait(PATIENCE_SECONDS) == 0


def workers_seen(inbox):
    """How many worker processes have ever begun to work."""
    with inbox.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).where(Heartbeat.worker != "purge"))


@pytest.mark.soak
@postgresql_and_sqlite_in_long_runs
def test_a_rolling_deploy_under_traffic_processes_every_event_exactly_once(old, new, payload, inbox):
    to_old, to_new = old.sender(inbox), new.sender(inbox)
    old_web, old_worker = old.web(), old.worker()
    with traffic(payload, to_old, threads=1) as before:
        eventually(lambda: len(before.answers) >= ENOUGH)
        new.flask("db", "upgrade")
        new.web()

    with (
        traffic(payload, to_old, threads=1) as by_old,
        traffic(payload, to_new, threads=1) as by_new,
        traffic(payload, to_old, to_new, threads=1) as by_both,
    ):
        eventually(lambda: count_events(inbox, BY_THE_NEW_ONE, StoredEvent.state == "processed") >= ENOUGH)
        new.worker()
        eventually(lambda: workers_seen(inbox) >= 2)
        stop(old_worker)
        stopped = len(by_old.answers)
        eventually(lambda: len(by_old.answers) >= stopped + ENOUGH)
    with traffic(payload, to_new, threads=1) as after:
        stop(old_web)
        eventually(lambda: len(after.answers) >= ENOUGH)
    eventually(lambda: all_processed(inbox))

    flows = [before, by_old, by_new, by_both, after]
    assert set.union(*(flow.statuses for flow in flows)) == {200}
    assert count_events(inbox, BY_THE_NEW_ONE) >= len(by_new.sent) + len(after.sent)
    assert_exactly_once(inbox, [event for flow in flows for event in flow.sent])


@pytest.mark.soak
def test_the_new_release_is_ready_once_it_has_migrated_and_the_old_one_stays_ready(old, new):
    """/readyz looks again after 5 s. The old release is asked first, so when the new one looks again, it does too."""
    for release in (old, new):
        release.web()
    before = (old.status("/readyz"), new.status("/readyz"))

    new.flask("db", "upgrade")
    eventually(lambda: new.status("/readyz") == 200)

    assert before == (200, 503)
    assert old.status("/readyz") == 200
