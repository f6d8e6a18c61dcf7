"""An error of the database says why: in the log, on the terminal, in `events check`. It names nobody and no place."""

import json
import socket
import sqlite3
import struct
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from receiver import create_app
from receiver.config import load_settings
from receiver.database.causes import cause_of
from receiver.testing import both_databases
from receiver.testing.waiting import eventually
from tests.receiver.databases import on_postgresql
from tests.receiver.processes import free_port

SECRETS = ("hunter2", "hidden-host", "hidden_name")


def fatal(code, text):
    """What a PostgreSQL server, or a pooler, answers before it hangs up."""
    fields = b"".join(kind + value.encode() + b"\0" for kind, value in ((b"S", "FATAL"), (b"C", code), (b"M", text)))
    return b"E" + struct.pack("!I", len(fields) + 5) + fields + b"\0"


@contextmanager
def peer(answer):
    """A server that gives every connection this answer, and hangs up. Yields its port."""

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(5)
                connection.recv(4096)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def check(environment, url):
    """What `events check` says of the database at this URL."""
    app = create_app(load_settings(environment | {"DATABASE_URL": url}))
    result = app.test_cli_runner().invoke(args=["events", "check"])
    app.extensions["inbox"].close()
    assert result.exit_code == 1
    assert not any(secret in result.output for secret in SECRETS), result.output
    return result.output


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('password authentication failed for user "hidden_name"', "refused_password"),
        ("SASL authentication failed", "refused_password"),
        ('role "hidden_name" does not exist', "refused_login"),
        ('no pg_hba.conf entry for host "hidden-host", user "u", database "d", no encryption', "tls"),
        ('no pg_hba.conf entry for host "hidden-host", user "u", database "d", SSL encryption', "refused_login"),
        ('database "hidden_name" does not exist', "no_such_database"),
        ("no such database: hidden_name", "no_such_database"),
        ("sorry, too many clients already", "too_many_connections"),
        ("remaining connection slots are reserved for roles with the SUPERUSER attribute", "too_many_connections"),
        ('too many connections for role "hidden_name"', "too_many_connections"),
        ("no more connections allowed (max_client_conn)", "too_many_connections"),
        ("the database system is shutting down", "shutting_down"),
        ("terminating connection due to administrator command", "shutting_down"),
        ("the database system is starting up", "starting_up"),
        ("the database system is not yet accepting connections", "starting_up"),
        ("query_wait_timeout", "timed_out"),
        ("unsupported startup parameter: options", "unsuitable_pooler. DATABASE_URL leads through a pooler"),
        ("unsupported startup parameter in options: lock_timeout", "unsuitable_pooler. DATABASE_URL leads through"),
        ("RDS Proxy currently doesn't support command-line options.", "unsuitable_pooler. DATABASE_URL leads through"),
        ("etwas in einer anderen Sprache", "not_connected"),
    ],
)
def test_a_server_that_refuses_the_connection_is_understood_without_what_it_names(environment, text, reason):
    with peer(fatal("XX000", text)) as port:
        said = check(environment, f"postgresql://hidden_name:hunter2@127.0.0.1:{port}/hidden_name?sslmode=disable")

    assert said.startswith(f"Error: The database does not answer as it should: {reason}")


@pytest.mark.parametrize(
    ("answer", "reason"), [(b"N", "tls"), (b"", "connection_lost")], ids=["has no TLS", "hangs up at once"]
)
def test_a_server_that_does_not_speak_tls_is_told_from_one_that_hangs_up(environment, answer, reason):
    mode = "require" if answer else "disable"
    with peer(answer) as port:
        assert reason in check(environment, f"postgresql://u:hunter2@127.0.0.1:{port}/d?sslmode={mode}")


@pytest.mark.parametrize("place", ["127.0.0.1:{port}", "hidden-host.invalid"])
def test_a_server_that_nobody_finds_is_unreachable(environment, place):
    assert "unreachable" in check(environment, f"postgresql://u:hunter2@{place.format(port=free_port())}/d")


@on_postgresql
def test_a_wrong_password_and_a_missing_database_are_told_apart_by_a_real_server(database, environment):
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("CREATE ROLE hidden_name LOGIN PASSWORD 'right'")
        rules = Path(owner.execute("SHOW hba_file").fetchone()[0])
        before = rules.read_text()
        rules.write_text(f"local all hidden_name scram-sha-256\n{before}")
        owner.execute("SELECT pg_reload_conf()")
        try:
            wrong = database.replace("postgres:@", "hidden_name:hunter2@")
            eventually(lambda: "refused_password" in check(environment, wrong))
        finally:
            rules.write_text(before)
            owner.execute("SELECT pg_reload_conf()")
            owner.execute("DROP ROLE hidden_name")

    url = sa.make_url(database).set(database="hidden_name")
    assert "no_such_database" in check(environment, url.render_as_string(hide_password=False))


@on_postgresql
def test_a_database_that_takes_no_more_connections_is_named(database, environment):
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("CREATE ROLE limited LOGIN CONNECTION LIMIT 0")
    try:
        assert "too_many_connections" in check(environment, database.replace("postgres:@", "limited:hunter2@"))
    finally:
        with psycopg.connect(database, autocommit=True) as owner:
            owner.execute("DROP ROLE limited")


@both_databases
def test_a_missing_table_is_named_at_the_door_and_by_the_commands(app, inbox, deliver, capsys):
    code = "42P01" if inbox.engine.dialect.name == "postgresql" else "SQLITE_ERROR"
    with inbox.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE events RENAME TO moved"))

    answer = deliver()
    printed = capsys.readouterr().out
    lines = [json.loads(line) for line in printed.splitlines()]
    result = app.test_cli_runner().invoke(args=["events", "check"])

    assert answer.status == 503
    assert f"missing_table ({code})" in [line["error"] for line in lines if line["event"] == "not_committed"]
    assert (result.exit_code, f"missing_table ({code})" in result.output) == (1, True)


@on_postgresql
def test_a_database_that_was_made_read_only_is_named_at_the_door(inbox, deliver, database, capsys):
    name = sa.make_url(database).database
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    inbox.engine.dispose()

    answer = deliver()

    assert answer.status == 503
    assert '"error": "read_only (25006)"' in capsys.readouterr().out


def test_a_locked_file_is_named_where_a_page_asks(app, inbox, deliver, capsys):
    with inbox.engine.execution_options(sqlite_begin="IMMEDIATE").begin():
        answer = deliver()

    assert answer.status == 503
    assert '"error": "locked (SQLITE_BUSY)"' in capsys.readouterr().out


def test_a_file_that_is_no_database_is_named(app, inbox, tmp_path):
    inbox.engine.dispose()
    (tmp_path / "receiver.db").write_bytes(b"hunter2 " * 4096)

    result = app.test_cli_runner().invoke(args=["events", "check"])

    assert result.output == "Error: The database does not answer as it should: corrupt (SQLITE_NOTADB)\n"


def test_readiness_logs_the_cause(app, inbox, tmp_path, capsys):
    inbox.engine.dispose()
    (tmp_path / "receiver.db").write_bytes(b"hunter2 " * 4096)

    answer = app.test_client().get("/readyz")

    assert answer.status_code == 503
    assert '"reason": "corrupt (SQLITE_NOTADB)"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("INSERT INTO t VALUES (1)", "read_only (SQLITE_READONLY)"),
        ("SELECT * FROM hidden_name", "missing_table (SQLITE_ERROR)"),
        ("SELECT hidden_name FROM t", "missing_column (SQLITE_ERROR)"),
        ("ATTACH DATABASE '/no/such/hidden_name/file' AS other", "cannot_open (SQLITE_CANTOPEN)"),
    ],
)
def test_what_sqlite_says_of_a_statement_has_a_reason(tmp_path, statement, reason):
    with sqlite3.connect(tmp_path / "file.db") as made:
        made.execute("CREATE TABLE t (n)")
    made.close()
    connection = sqlite3.connect(f"file:{tmp_path / 'file.db'}?mode=ro", uri=True)

    with pytest.raises(sqlite3.Error) as caught:
        connection.execute(statement)
    connection.close()

    assert cause_of(caught.value) == reason


def test_a_full_disk_under_sqlite_has_a_reason(tmp_path):
    connection = sqlite3.connect(tmp_path / "file.db")
    connection.execute("CREATE TABLE t (n)")
    connection.execute("PRAGMA max_page_count = 3")

    with pytest.raises(sqlite3.Error) as caught:
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    connection.close()

    assert cause_of(caught.value) == "disk_full (SQLITE_FULL)"


def test_what_is_no_error_of_the_database_is_named_by_its_class():
    class NeverHeardOf(Exception):
        pass

    assert cause_of(NeverHeardOf("hunter2")) == "never_heard_of"


def test_a_migration_of_a_server_that_nobody_finds_ends_with_one_line(environment):
    app = create_app(load_settings(environment | {"DATABASE_URL": f"postgresql://u:hunter2@127.0.0.1:{free_port()}/d"}))
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    app.extensions["inbox"].close()

    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "The database does not answer as it should: unreachable" in result.output
