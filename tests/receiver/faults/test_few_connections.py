"""A small plan has 20 connections. They are enough, and deliveries have their own: the real server counts them."""

import json
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa

from receiver.testing.waiting import eventually
from tests.receiver.databases import on_postgresql
from tests.receiver.processes import running

FEW = 20
BURST = 500
WANT_OF_ONE = ("too_many_connections", "no_free_connection")


@contextmanager
def limited(database, limit, of="role"):
    """The address of the database for a role that is no superuser, where only so many connections may be."""
    role, name = f"role_{uuid4().hex}", sa.make_url(database).database
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT {limit if of == 'role' else -1}")
        owner.execute(f"ALTER DATABASE {name} CONNECTION LIMIT {limit if of == 'database' else -1}")
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            owner.execute(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {role}")
    try:
        yield database.replace("postgres:@", f"{role}:@")
    finally:
        with psycopg.connect(database, autocommit=True) as owner:
            owner.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")
            eventually(lambda: not _sessions(owner, f"usename = '{role}'"))
            owner.execute(f"DROP OWNED BY {role}")
            owner.execute(f"DROP ROLE {role}")


def _sessions(owner, which):
    return owner.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {which}").fetchone()[0]


@pytest.fixture
def few(database):
    with limited(database, FEW) as url:
        yield url


@on_postgresql
def test_twenty_connections_carry_two_web_processes_a_worker_a_release_and_a_command_through_a_burst_of_duplicates(
    few, environment, inbox, payload, tmp_path
):
    sent = payload("payment.success")
    with running(environment | {"DATABASE_URL": few}) as receiver, ThreadPoolExecutor(BURST + 2) as many:
        receiver.log = tmp_path / "log"
        receiver.web("--workers", "2")
        sender = receiver.sender(inbox)
        first = sender.deliver(sent).json
        together = threading.Barrier(BURST + 2)

        def deliver():
            together.wait()
            return sender.deliver(sent).status

        def command(*arguments):
            together.wait()
            return receiver.flask(*arguments, check=False)

        burst = [many.submit(deliver) for _ in range(BURST)]
        release = many.submit(command, "db", "upgrade")
        check = many.submit(command, "events", "check", "--json")
        statuses = Counter(answer.result() for answer in burst)
        said = release.result().stderr + check.result().stderr + receiver.log.read_text()
        eventually(lambda: sender.deliver(sent).status == 200)

    assert first["status"] == "accepted"
    assert [reason for reason in WANT_OF_ONE if reason in said] == [], statuses
    assert release.result().returncode == 0
    assert json.loads(check.result().stdout.splitlines()[-1])["connections"]["most"] == FEW


@on_postgresql
def test_no_page_takes_the_connection_that_a_delivery_needs(environment, request, database):
    environment["METRICS_TOKEN"] = "a-token"
    app, inbox, deliver = map(request.getfixturevalue, ("app", "inbox", "deliver"))
    deliver(event_id="evt_1")
    pages, over = inbox.settings.share.pages, threading.Event()

    def look_again_and_again():
        while not over.is_set():
            app.test_client().get("/metrics", headers={"Authorization": "Bearer a-token"})

    with psycopg.connect(database) as owner, ThreadPoolExecutor(pages + 2) as visitors:
        owner.execute("LOCK TABLE worker_heartbeats IN ACCESS EXCLUSIVE MODE")
        try:
            for _ in range(pages + 2):
                visitors.submit(look_again_and_again)
            eventually(lambda: _waits_for_a_lock(database) == pages)
            again = deliver(event_id="evt_1")
        finally:
            over.set()
            owner.rollback()

    assert (again.status, again.json["status"]) == (200, "duplicate")


def _waits_for_a_lock(database):
    with psycopg.connect(database, autocommit=True) as other:
        return _sessions(other, "datname = current_database() AND wait_event_type = 'Lock'")


POOL_OF_16 = {"DATABASE_CONNECTIONS": "37"}  # 3 for the worker; each web process has 1 for its committer and 16


@pytest.mark.soak
@on_postgresql
def test_processes_that_may_open_more_connections_than_the_server_gives_are_refused_with_a_sentence(
    few, database, environment
):
    cases = [
        (few, POOL_OF_16, ("-m", "gunicorn", "wsgi:app"), "may open 37 connections, but the role may have 20"),
        (few, {"WEB_CONCURRENCY": "4"}, ("-m", "gunicorn", "wsgi:app"), "may open 27 connections"),
        (few, {}, ("-m", "gunicorn", "wsgi:app", "--workers", "4"), "may open 27 connections"),
        (few, {}, ("-m", "flask", "--app", "wsgi", "worker", "--processes", "10"), "may open 21 connections"),
        (few, {"DATABASE_CONNECTIONS": "10"}, ("-m", "gunicorn", "wsgi:app"), "is 10, but these processes need 11"),
        (database, {"DATABASE_CONNECTIONS": "999"}, ("-m", "gunicorn", "wsgi:app"), "but the server may have"),
    ]
    for url, settings, command, said in cases:
        with running(environment | {"DATABASE_URL": url} | settings) as receiver:
            done = receiver.python(*command)

            assert done.returncode == 78, (settings, command, done.stderr)
            assert "- DATABASE_CONNECTIONS: " in done.stderr, done.stderr
            assert said in done.stderr, done.stderr
            assert "Traceback" not in done.stdout + done.stderr


@on_postgresql
@pytest.mark.parametrize("of", ["role", "database"])
def test_connections_that_run_out_need_a_person_who_is_told_how_many_are_ours(database, environment, assemble, of):
    token = {"METRICS_TOKEN": "a-token"}
    with limited(database, 10, of) as url, ExitStack() as stack:
        app = assemble(environment | token | {"DATABASE_URL": url})
        before = _check(app)
        used = before["connections"]["used"]
        for _ in range(9 - used):
            stack.enter_context(psycopg.connect(url, application_name="somebody"))
        after = _check(app)
        metrics = app.test_client().get("/metrics", headers={"Authorization": "Bearer a-token"}).text

    assert "connections" not in before["codes"]
    assert after["connections"] == {"ours": before["connections"]["ours"], "used": 9, "most": 10, "limit": of}
    assert f"9 of the 10 connections that the {of} may have are used" in after["alarms"][0]
    assert 'senang_database_connections{which="all"} 9' in metrics
    assert 'senang_needs_a_person{condition="connections"} 1' in metrics


@on_postgresql
def test_a_server_that_gives_no_connection_is_named_with_what_to_do(database, environment, assemble):
    with limited(database, 0) as url:
        result = assemble(environment | {"DATABASE_URL": url}).test_cli_runner().invoke(args=["events", "check"])

    assert result.exit_code == 1
    assert "too_many_connections" in result.output
    assert "Lower DATABASE_CONNECTIONS" in result.output


@on_postgresql
def test_overview_says_how_many_connections_are_ours(signed_in, inbox):
    shown = signed_in().get("/").text

    assert re.search(r"<strong>\d+ of \d+</strong> connections of the database are ours", shown)


def _check(app):
    output = app.test_cli_runner().invoke(args=["events", "check", "--json"]).output
    return json.loads(next(line for line in output.splitlines() if line.startswith('{"ok"')))
