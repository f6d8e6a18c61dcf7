"""An index of a large table is built while deliveries come in, and built again where the build was cut off.

The next release is a copy of this checkout with one more migration of the receiver. Its build can't end while another
transaction that may have written to the table is open: so a test says for how long it lasts.
"""

from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from receiver.testing import both_databases
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.receiver.databases import on_postgresql
from tests.receiver.faults.pgbouncer import running_pgbouncer
from tests.receiver.faults.test_two_releases import build_next_release
from tests.receiver.processes import running

MIGRATION = """
from receiver.migrations.online import build_index, drop_index

revision = "receiver_online"
down_revision = "receiver_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    build_index("ix_events_online", "events", ["reported_status", "id"])


def downgrade() -> None:
    drop_index("ix_events_online", "events")
"""
WHOLE = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ix_events_online')"
BUILDERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND state = 'active'
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = build_next_release(tmp_path_factory.mktemp("releases") / "next")
    versions = folder / "receiver" / "migrations" / "versions"
    (versions / "next_release.py").unlink()
    (versions / "online.py").write_text(MIGRATION)
    return folder


@pytest.fixture
def settings(environment, database):
    return environment | {"DATABASE_URL": database, "LOG_LEVEL": "ERROR"}


def ask(inbox, question):
    with inbox.engine.connect() as connection:
        return connection.scalar(sa.text(question))


@contextmanager
def open_transaction(inbox):
    """A transaction that may have written to the table, such as one of a handler that takes its time."""
    with inbox.engine.begin() as connection:
        connection.execute(sa.text("LOCK TABLE events IN ROW EXCLUSIVE MODE"))
        yield


@on_postgresql
def test_a_build_that_was_cut_off_is_built_again_and_no_delivery_waits_for_it(release, settings, inbox, deliver):
    answers = [deliver() for _ in range(20)]

    with running(settings, release) as receiver:
        with open_transaction(inbox):
            upgrade = receiver.start("-m", "flask", "--app", "wsgi", "db", "upgrade")
            eventually(lambda: ask(inbox, WHOLE) is False or upgrade.poll() is not None)
            answers += [deliver() for _ in range(20)]
            receiver.kill(upgrade)
            eventually(lambda: ask(inbox, BUILDERS) == 0)
        left = ask(inbox, WHOLE)
        again = receiver.flask("db", "upgrade", check=False)

    assert left is False
    assert again.returncode == 0, again.stderr
    assert ask(inbox, WHOLE) is True
    assert {answer.status for answer in answers} == {200}


@on_postgresql
def test_an_index_is_built_through_a_pooler_while_deliveries_come_in(release, settings, inbox, deliver, database):
    answers = [deliver()]

    with running_pgbouncer(database) as pooler:
        own = {"DATABASE_URL": pooler.url(database), "DATABASE_POOLER": "1"}
        with running(settings | own, release) as receiver:
            with open_transaction(inbox):
                upgrade = receiver.start("-m", "flask", "--app", "wsgi", "db", "upgrade")
                eventually(lambda: ask(inbox, WHOLE) is False or upgrade.poll() is not None)
                answers += [deliver() for _ in range(20)]
            ended = upgrade.wait(PATIENCE_SECONDS)

    assert (ended, ask(inbox, WHOLE)) == (0, True)
    assert {answer.status for answer in answers} == {200}


@pytest.mark.soak
@both_databases
def test_an_index_of_a_table_with_rows_is_built_and_dropped(release, settings, inbox, deliver):
    for _ in range(5):
        deliver()

    def has_index():
        return "ix_events_online" in {index["name"] for index in sa.inspect(inbox.engine).get_indexes("events")}

    with running(settings, release) as receiver:
        receiver.flask("db", "upgrade")
        built = has_index()
        receiver.flask("db", "downgrade", "receiver@-1")

    assert (built, has_index()) == (True, False)
