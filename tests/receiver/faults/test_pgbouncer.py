"""Behind PgBouncer in transaction mode every promise holds: the real one, with two connections for everybody."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from receiver.testing.waiting import eventually
from tests.receiver.databases import on_postgresql
from tests.receiver.faults.outcomes import all_processed, assert_exactly_once
from tests.receiver.faults.pgbouncer import POOL_SIZE, running_pgbouncer
from tests.receiver.people import SITI, SUBJECTS
from tests.receiver.processes import running

ABOUT_SITI = {"data": {"customer": {"nric": SITI["nric"]}}}
WITNESS = """
CREATE TABLE witnessed (what text, synchronous_commit text, lock_timeout text, backend int);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witnessed VALUES (
        NEW.action, current_setting('synchronous_commit'), current_setting('lock_timeout'), pg_backend_pid()
    );
    RETURN NULL;
END $$;
CREATE TRIGGER witness AFTER INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION witness();
"""
"""Notes of each transaction that writes an audit row what it is committed with."""


def count_entries(inbox):
    """How many events the index of people leads to."""
    with inbox.engine.begin() as connection:
        return connection.scalar(sa.text("SELECT count(*) FROM person_index"))


@pytest.fixture
def pooler(database):
    with running_pgbouncer(database) as pgbouncer:
        yield pgbouncer


@pytest.fixture
def settings(database, environment, pooler):
    return environment | {
        "DATABASE_URL": pooler.url(database),
        "DATABASE_POOLER": "1",
        "LOG_LEVEL": "ERROR",
        "EMBEDDED_WORKER": "0",
        **SUBJECTS,
    }


@on_postgresql
def test_behind_a_pooler_every_delivery_is_acknowledged_and_processed_once_and_every_commit_is_synchronous(
    settings, inbox, payload, database
):
    careless_server(inbox)
    sent = [payload("payment.success", transaction_id=f"TXN-{number}", **ABOUT_SITI) for number in range(300)]

    with running(settings) as receiver:
        receiver.web("--workers", "2")
        receiver.worker("--processes", "2")
        sender = receiver.sender(inbox)
        with ThreadPoolExecutor(8) as senders:
            answers = list(senders.map(sender.deliver, sent))
        eventually(lambda: all_processed(inbox))
        listeners = count_listeners(inbox)

    assert {answer.status for answer in answers} == {200}
    assert_exactly_once(inbox, sent)
    assert count_entries(inbox) == len(sent)
    assert witnessed(inbox) == {("delivery", "on", "2s"), ("attempt", "on", "2s")}
    assert count_witnesses(inbox) <= POOL_SIZE
    assert listeners == 0


@on_postgresql
def test_an_address_as_providers_give_it_leads_through_the_pooler_by_tls(database, environment, request):
    with running_pgbouncer(database, tls=True) as pgbouncer:
        theirs = {"drivername": "postgres", "username": "postgres.abcdefghijklmnopqrst", "password": "p@ss:w/rd#100%"}
        given = make_url(pgbouncer.url(database)).set(**theirs, query={"sslmode": "require"})
        environment |= {"DATABASE_URL": given.render_as_string(hide_password=False), "DATABASE_POOLER": "1"}

        answer = request.getfixturevalue("deliver")()
        request.getfixturevalue("work")()

        assert answer.json["status"] == "accepted"
        assert request.getfixturevalue("stored")(answer.json["event_id"]).state == "processed"


@pytest.mark.soak
@on_postgresql
def test_a_duplicate_behind_a_pooler_is_known(settings, inbox, payload):
    sent = payload("payment.success")

    with running(settings) as receiver:
        receiver.web("--workers", "2")
        sender = receiver.sender(inbox)
        with ThreadPoolExecutor(8) as senders:
            answers = list(senders.map(sender.deliver, [sent] * 40))

    assert sorted(answer.json["status"] for answer in answers) == ["accepted"] + ["duplicate"] * 39


@on_postgresql
def test_workers_that_know_the_way_past_the_pooler_are_woken_by_deliveries_through_it(
    settings, inbox, payload, database
):
    sent = payload("payment.success")

    with running(settings, DATABASE_DIRECT_URL=database) as receiver:
        receiver.web()
        receiver.worker()
        eventually(lambda: count_listeners(inbox) == 1)
        receiver.sender(inbox).deliver(sent)
        eventually(lambda: all_processed(inbox))

    assert_exactly_once(inbox, [sent])


@pytest.mark.soak
@on_postgresql
def test_workers_that_find_the_way_past_the_pooler_closed_poll(settings, inbox, payload, database):
    sent = payload("payment.success")

    with running(settings, DATABASE_DIRECT_URL="postgresql://postgres@127.0.0.1:1/nowhere") as receiver:
        receiver.web()
        receiver.worker()
        receiver.sender(inbox).deliver(sent)
        eventually(lambda: all_processed(inbox))

    assert_exactly_once(inbox, [sent])


@pytest.mark.soak
@on_postgresql
def test_a_schema_is_migrated_through_the_pooler(settings, postgres, pooler):
    with postgres.database("template1") as empty, running(settings, DATABASE_URL=pooler.url(empty)) as receiver:
        receiver.flask("db", "upgrade")

        receiver.web()

        assert receiver.answers("/readyz")


@pytest.mark.soak
@on_postgresql
@pytest.mark.parametrize(
    "more",
    [(), ("ignore_startup_parameters = options",)],
    ids=["refused", "swallowed"],
)
def test_a_pooler_that_the_settings_do_not_name_is_never_trusted_and_each_command_names_the_setting(
    settings, database, more
):
    commands = {
        ("-m", "gunicorn", "wsgi:app"): 78,
        ("-m", "flask", "--app", "wsgi", "worker"): 78,
        ("-m", "flask", "--app", "wsgi", "db", "upgrade"): 1,
        ("-m", "flask", "--app", "wsgi", "events", "check"): 1,
    }
    with running_pgbouncer(database, *more) as pgbouncer:
        unaware = settings | {"DATABASE_POOLER": "0", "DATABASE_URL": pgbouncer.url(database)}
        with running(unaware) as receiver:
            for command, exit_code in commands.items():
                done = receiver.python(*command)
                said = done.stdout + done.stderr

                assert (done.returncode, "DATABASE_POOLER=1" in said, "Traceback" in said) == (exit_code, True, False)


@on_postgresql
def test_behind_a_pooler_nobody_can_know_how_many_connections_are_ours(settings, assemble):
    result = assemble(settings).test_cli_runner().invoke(args=["events", "check", "--json"])

    assert '"connections": null, "behind_pooler": true' in result.output


def careless_server(inbox):
    """Its own default is to acknowledge what a power loss would take."""
    with inbox.engine.begin() as connection:
        name = connection.scalar(sa.text("SELECT current_database()"))
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET lock_timeout = 0")
        connection.connection.dbapi_connection.execute(WITNESS)


def witnessed(inbox):
    with inbox.engine.connect() as connection:
        found = connection.execute(sa.text("SELECT DISTINCT what, synchronous_commit, lock_timeout FROM witnessed"))
        return {tuple(row) for row in found}


def count_witnesses(inbox):
    with inbox.engine.connect() as connection:
        return connection.scalar(sa.text("SELECT count(DISTINCT backend) FROM witnessed"))


def count_listeners(inbox):
    with inbox.engine.connect() as connection:
        listening = "datname = current_database() AND query LIKE 'LISTEN %'"
        return connection.scalar(sa.text(f"SELECT count(*) FROM pg_stat_activity WHERE {listening}"))
