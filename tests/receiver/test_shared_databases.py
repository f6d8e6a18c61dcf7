"""A database that others use too, or that is set up unlike any other: what is ours works, what is theirs stays."""

import re
import sqlite3
from contextlib import closing

import psycopg
import pytest
import sqlalchemy as sa
from flask_migrate import upgrade

from receiver import create_app
from receiver.config import load_settings
from receiver.database.engine import make_engine
from receiver.database.url import ROOT
from receiver.store.schema import takes_writes
from tests.receiver.databases import on_postgresql, postgresql_and_sqlite_in_long_runs
from tests.receiver.processes import Receiver


@pytest.fixture
def empty(postgres, request):
    """The URL of an empty database, made as the test's parameter says."""
    with postgres.database(getattr(request, "param", "template0")) as url:
        yield url


def receiver(environment, url):
    return create_app(load_settings(environment | {"DATABASE_URL": url}))


def change(url, *statements):
    """Execute statements as the owner of the database, beside the receiver."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@postgresql_and_sqlite_in_long_runs
def test_a_generated_migration_leaves_the_tables_of_others_alone(database, environment, inbox):
    with inbox.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE spatial_ref_sys (srid INTEGER PRIMARY KEY, name VARCHAR(20))"))
        connection.execute(sa.text("CREATE INDEX ix_theirs ON spatial_ref_sys (name)"))
        connection.execute(sa.text("CREATE VIEW theirs AS SELECT * FROM spatial_ref_sys"))

    # In a process of its own: this one may know the tables of two partners.
    checked = Receiver(environment | {"DATABASE_URL": database}).flask("db", "check", check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_revisions_of_another_application_are_not_taken_for_ours(request, tmp_path, environment, kind):
    url = request.getfixturevalue("empty") if kind == "postgresql" else f"sqlite:///{tmp_path / 'shared.db'}"
    engine = make_engine(load_settings(environment | {"DATABASE_URL": url}).database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('0003')"))
    app = receiver(environment, url)
    inbox = app.extensions["inbox"]
    before = takes_writes(inbox)

    with app.app_context():
        upgrade(revision="heads")

    with engine.connect() as connection:
        theirs = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all()
    assert (before, takes_writes(inbox), theirs) == ("not_migrated", None, ["0003"])
    engine.dispose()
    inbox.close()


@pytest.mark.parametrize("way", ["in the address", "in PGOPTIONS"])
def test_a_search_path_of_the_partners_holds_for_every_table_and_statement(empty, environment, monkeypatch, way):
    change(empty, "CREATE SCHEMA inbox")
    if way == "in PGOPTIONS":
        monkeypatch.setenv("PGOPTIONS", "-csearch_path=inbox")
    url = empty if way == "in PGOPTIONS" else f"{empty}&options=-csearch_path%3Dinbox"
    app = receiver(environment, url)
    inbox = app.extensions["inbox"]
    with app.app_context():
        upgrade(revision="heads")

    with inbox.engine.connect() as connection:
        found = connection.execute(
            sa.text(
                "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name ~ '^(events|receiver)'"
            )
        ).scalars()
        lock_timeout = connection.scalar(sa.text("SHOW lock_timeout"))
        assert (found.all(), lock_timeout) == (["inbox"], "2s")
    assert takes_writes(inbox) is None
    inbox.close()


SETTINGS = [
    "default_transaction_isolation = serializable",
    "default_transaction_isolation = 'repeatable read'",
    "standard_conforming_strings = off",
    "client_encoding = latin1",
    "timezone = 'Asia/Kuala_Lumpur'",
    "datestyle = 'SQL, DMY'",
    "intervalstyle = sql_standard",
    "bytea_output = escape",
    "search_path = '$user'",
    "lc_messages = 'C'",
    "statement_timeout = '1ms'",
    "lock_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '1ms'",
    "synchronous_commit = off",
    "row_security = off",
    "transform_null_equals = on",
    "extra_float_digits = -15",
    "escape_string_warning = off",
]


@on_postgresql
@pytest.mark.parametrize("setting", SETTINGS)
def test_events_are_kept_and_processed_whatever_the_database_has_as_its_default(
    database, environment, setting, request
):
    name = sa.make_url(database).database
    schema = "ALTER SCHEMA public RENAME TO postgres" if "search_path" in setting else "SELECT 1"
    change(database, f"ALTER DATABASE {name} SET {setting}", schema)
    row = request.getfixturevalue("perform")("payment.success", transaction_id="TXN-é世", data={"note": r"a\'b"})
    inbox = request.getfixturevalue("inbox")

    with inbox.engine.connect() as connection:
        isolation = connection.scalar(sa.text("SHOW transaction_isolation"))

    assert (row.transaction_id, row.received_at.utcoffset().total_seconds()) == ("TXN-é世", 0)
    assert abs((row.received_at - inbox.clock.now()).total_seconds()) < 600
    assert isolation == "read committed"
    assert takes_writes(inbox) is None


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_of_another_encoding_is_refused_by_name(empty, postgres, environment, encoding):
    name = f"encoded_{encoding.lower()}"
    change(empty, f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        app = receiver(environment, sa.make_url(empty).set(database=name).render_as_string(hide_password=False))
        commands = [app.test_cli_runner().invoke(args=args) for args in (["db", "upgrade"], ["events", "check"])]
        app.extensions["inbox"].close()
    finally:
        change(empty, f"DROP DATABASE {name} WITH (FORCE)")

    assert [command.exit_code for command in commands] == [1, 1]
    assert all("unsuitable_server_encoding" in command.output for command in commands)


def test_no_statement_of_ours_names_a_schema():
    for path in (ROOT / "receiver").rglob("*.py"):
        assert not re.search(r"\bpublic\.", path.read_text()), path


def test_an_upgrade_where_another_application_has_a_table_of_that_name_says_so_and_touches_nothing(
    environment, tmp_path
):
    file = tmp_path / "shared.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE users (theirs)")

    done = Receiver(environment | {"DATABASE_URL": f"sqlite:///{file}"}).flask("db", "upgrade", check=False)

    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "Another application has users here" in said
    assert "Traceback" not in said
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT sql FROM sqlite_master").fetchall() == [("CREATE TABLE users (theirs)",)]
