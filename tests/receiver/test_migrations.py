"""Migrations: up and down on both databases, the models match, and two deploys at once do not collide."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask_migrate import downgrade, upgrade

from receiver.database.columns import Base, ReceiverBase
from receiver.store.schema import VERSION_TABLE, branches, branches_in, locate, problem_of, takes_writes
from receiver.testing import both_databases
from receiver.testing.waiting import PATIENCE_SECONDS
from tests.receiver.processes import Receiver
from tests.receiver.settings import PARTNER_PACKAGE


def test_there_are_two_branches_with_one_head_each():
    scripts = ScriptDirectory.from_config(locate(Config(), PARTNER_PACKAGE))

    assert [scripts.get_revision(f"{branch}@head").revision for branch in ("receiver", "partner")] == sorted(
        scripts.get_heads(), reverse=True
    )


MIGRATIONS = {
    "first.py": 'revision = "a1"\ndown_revision = None\nbranch_labels = ("own",)\nupgrade = print',
    "with_types.py": 'revision: str = "a2"\ndown_revision: str | None = "a1"\ndepends_on = ("b1",)',
    "fork.py": 'revision = "a3"\ndown_revision = "a1"',
    "merge.py": 'revision = "a4"\ndown_revision = ("a2", "a3")',
    "other.py": "revision = 'b1'\ndown_revision = None",
    "last.py": 'revision = "a5"\ndown_revision = "a4"\nTABLES = ("revision",)',
    "alone.py": 'revision = "c1"\ndown_revision = None',
}


def test_the_heads_are_those_that_alembic_finds(tmp_path):
    for name, text in MIGRATIONS.items():
        (tmp_path / name).write_text(text)
    scripts = ScriptDirectory(str(tmp_path), version_locations=[str(tmp_path)])

    found = branches_in([tmp_path])

    assert found.keys() == set(scripts.get_heads())
    assert found["a5"] == {"a1", "a2", "a3", "a4"}
    scripts = ScriptDirectory.from_config(locate(Config(), PARTNER_PACKAGE))
    assert branches(PARTNER_PACKAGE).keys() == set(scripts.get_heads())


def is_tested(_item, name, kind, *_):
    """Whether the table is the receiver's or our partner's: the fork's may be known in this process."""
    return kind != "table" or name in ReceiverBase.metadata.tables or name.startswith("probe_")


@both_databases
def test_the_models_match_the_migrations(inbox):
    options = {"compare_type": True, "version_table": VERSION_TABLE, "include_object": is_tested}
    with inbox.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)

        assert compare_metadata(context, [ReceiverBase.metadata, Base.metadata]) == []


@both_databases
def test_everything_can_be_taken_down_and_built_again(app, inbox, deliver):
    with app.app_context():
        downgrade(revision="base")
    with inbox.engine.connect() as connection:
        left = set(sa.inspect(connection).get_table_names()) - {"receiver_version", "sqlite_sequence"}
    with app.app_context():
        upgrade(revision="heads")

    assert left == set()
    assert deliver().status == 200


@both_databases
def test_the_triggers_stand_after_the_migrations(inbox, deliver, clock):
    deliver()

    with pytest.raises(sa.exc.DBAPIError, match="append-only"), inbox.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM audit_log"))


@pytest.mark.soak
@both_databases
def test_two_migrations_at_once_end_in_one_schema(app, database, environment):
    with app.app_context():
        downgrade(revision="base")
    receiver = Receiver(environment | {"DATABASE_URL": database})

    racers = [receiver.start("-m", "flask", "--app", "wsgi", "db", "upgrade") for _ in range(2)]

    assert [racer.wait(PATIENCE_SECONDS) for racer in racers] == [0, 0]


@both_databases
def test_a_schema_that_is_behind_in_one_branch_is_not_ready_and_one_that_is_beyond_in_one_is(app, inbox):
    found = [takes_writes(inbox)]
    for change in (
        "UPDATE receiver_version SET version_num = 'newer' WHERE version_num = 'probe_0001'",
        "DELETE FROM receiver_version WHERE version_num = 'newer'",
        "DELETE FROM receiver_version",
    ):
        with inbox.engine.begin() as connection:
            connection.execute(sa.text(change))
        found.append(takes_writes(inbox))

    assert found == [None, None, "behind", "not_migrated"]


@pytest.mark.soak
def test_heads_current_check_stamp_and_show_do_what_a_partner_means(database, environment, inbox):
    """In processes of their own: this one may know the tables of two partners."""
    receiver = Receiver(environment | {"DATABASE_URL": database})

    def run(name):
        return receiver.flask("db", name, check=False).returncode

    with inbox.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM receiver_version WHERE version_num = 'probe_0001'"))
    behind, stamped = run("check"), run("stamp")
    codes = {name: run(name) for name in ("heads", "current", "check", "show")}

    assert (behind, stamped) == (1, 0)
    assert codes == dict.fromkeys(codes, 0)
    with inbox.engine.connect() as connection:
        noted = connection.scalars(sa.text("SELECT version_num FROM receiver_version")).all()
    assert sorted(noted) == ["probe_0001", "receiver_0001"]


def test_each_branch_has_to_be_at_this_builds_revision_or_beyond_it():
    known = {"receiver_3": frozenset({"receiver_1", "receiver_2"}), "partner_2": frozenset({"partner_1"})}
    expected = {
        "": "not_migrated",
        "receiver_3 partner_2": None,
        "receiver_4 partner_2": None,
        "receiver_3 partner_3": None,
        "receiver_4 partner_3": None,
        "receiver_2 partner_2": "behind",
        "receiver_3 partner_1": "behind",
        "receiver_1 partner_1": "behind",
        "receiver_4 partner_1": "behind",
        "receiver_2 partner_3": "behind",
        "receiver_3": "behind",
        "partner_2": "behind",
        "receiver_4": "behind",
        "partner_3": "behind",
        "receiver_3 partner_2 third_1": None,
    }

    assert {noted: problem_of(set(noted.split()), known) for noted in expected} == expected
