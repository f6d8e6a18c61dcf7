"""What a worker does beside its events: it lets go of leases, keeps house, and ends when there is no more to do."""

import os
import signal
from uuid import uuid4

import pytest
import sqlalchemy as sa

from receiver import create_app
from receiver.actions.replay import replay
from receiver.cli.worker import UPKEEP
from receiver.config import load_settings
from receiver.database.engine import writing
from receiver.registry import handles, shows_message
from receiver.store.models import StoredEvent
from receiver.testing import both_databases
from receiver.worker.leases import recover
from receiver.worker.loop import DATABASE_AWAY, Worker
from receiver.worker.workbench import Workbench
from tests.receiver.databases import on_postgresql
from tests.receiver.processes import free_port


@pytest.fixture
def drain():
    """Run a worker until nothing is due."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(inbox, patience=20.0):
        Worker(Workbench(inbox, "worker"), os.getppid(), UPKEEP).run(drain_patience=patience)

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def refuse_hand_backs(inbox):
    """Whoever lets go of leases fails."""
    with inbox.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'no'; END $$ LANGUAGE plpgsql;"
            "CREATE TRIGGER refusing BEFORE UPDATE ON events FOR EACH ROW"
            " WHEN (NEW.lease_token IS NOT NULL AND NEW.attempts = OLD.attempts) EXECUTE FUNCTION refuse()"
        )


@pytest.fixture
def cut_the_first_commit(inbox):
    """The server ends the connection on which the first payment is committed."""
    with inbox.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE commits")
        connection.exec_driver_sql(
            "CREATE FUNCTION cut() RETURNS trigger AS $$ BEGIN IF nextval('commits') = 1 THEN"
            " PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NEW; END $$ LANGUAGE plpgsql;"
            "CREATE CONSTRAINT TRIGGER cutting AFTER INSERT ON probe_payments DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION cut()"
        )


@pytest.fixture
def environment(environment):
    return environment | {"WORKER_BATCH": "1"}


@on_postgresql
@pytest.mark.usefixtures("refuse_hand_backs", "cut_the_first_commit")
def test_a_worker_that_cannot_let_go_of_its_leases_goes_on_with_other_events(inbox, deliver, stored, drain):
    for number in range(3):
        deliver(event_id=f"evt_{number}")

    drain(inbox)

    assert [stored(f"evt_{number}").state for number in range(3)] == ["pending", "processed", "processed"]


@on_postgresql
@pytest.mark.usefixtures("cut_the_first_commit")
def test_a_worker_that_lost_the_database_lets_go_of_its_leases_and_loses_nothing(inbox, deliver, stored, drain):
    for number in range(3):
        deliver(event_id=f"evt_{number}")

    drain(inbox)

    assert [stored(f"evt_{number}").state for number in range(3)] == ["processed"] * 3


@on_postgresql
@pytest.mark.parametrize("broken", ["summed_until", "worker_heartbeats", "bulk_acts"])
def test_upkeep_that_fails_stops_no_events(inbox, deliver, stored, drain, broken):
    deliver(event_id="evt_1")
    with inbox.engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {broken} RENAME TO elsewhere")

    drain(inbox)

    assert stored("evt_1").state == "processed"


def test_a_worker_that_is_to_drain_gives_up_when_the_database_stays_away(environment, drain):
    away = environment | {"DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"}
    inbox = create_app(load_settings(away)).extensions["inbox"]

    with pytest.raises(SystemExit) as gave_up:
        drain(inbox, patience=0.1)

    assert gave_up.value.code == DATABASE_AWAY


@pytest.fixture
def backlog(inbox):
    """Many due events, of which a dead worker holds the first ones."""

    def insert(count, held):
        with inbox.engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO events (seal_id, event_id, event_type, received_at, environment, state, due_at, attempts,"
                " body_digest, lease_token, leased_by, lease_until)"
                " SELECT gen_random_uuid(), 'evt_' || n, 'x', now(), 'sandbox', 'pending', now() - interval '1 hour',"
                f" CASE WHEN n <= {held} THEN 1 ELSE 0 END, 'x',"
                f" CASE WHEN n <= {held} THEN gen_random_uuid() END, CASE WHEN n <= {held} THEN 'dead worker' END,"
                f" CASE WHEN n <= {held} THEN now() + interval '1 hour' END FROM generate_series(1, {count}) AS n"
            )
            connection.exec_driver_sql("ANALYZE events")

    return insert


@on_postgresql
def test_what_a_dead_worker_held_is_found_without_a_look_at_the_whole_backlog(inbox, backlog, rows_read, session):
    backlog(30_000, held=200)

    read = rows_read(lambda: recover(inbox, "dead worker", begun=0, died=True))

    assert session.scalar(sa.select(sa.func.count()).where(StoredEvent.leased_by.is_not(None))) == 0
    assert read < 10_000


@both_databases
def test_what_a_dead_worker_held_is_due_again_and_costs_nothing_but_the_one_it_died_of(inbox, deliver, stored):
    for number in range(3):
        deliver(event_id=f"evt_{number}")
    with writing(inbox.engine) as session:
        held = {"leased_by": "dead worker", "attempts": 1, "lease_until": inbox.now(plus=60), "lease_token": uuid4()}
        session.execute(sa.update(StoredEvent).values(held))

    recover(inbox, "dead worker", begun=stored("evt_1").id, died=True)

    assert stored("evt_1").due_at > inbox.clock.now()  # after a pause, as after any failure
    assert stored("evt_1").last_error.startswith("the worker did not end its last attempt")
    assert [stored(f"evt_{number}").attempts for number in range(3)] == [0, 1, 0]
    assert [stored(f"evt_{number}").leased_by for number in range(3)] == [None, None, None]


@both_databases
def test_what_a_worker_died_of_can_be_tried_at_once(inbox, deliver, stored, work):
    deliver(event_id="evt_1")
    with writing(inbox.engine) as session:
        held = {"leased_by": "dead worker", "attempts": 1, "lease_until": inbox.now(plus=60), "lease_token": uuid4()}
        session.execute(sa.update(StoredEvent).values(held))
    recover(inbox, "dead worker", begun=stored("evt_1").id, died=True)
    work()
    before = stored("evt_1").state

    result = replay(inbox, stored("evt_1").id, actor="siti")
    work()

    assert (before, result, stored("evt_1").state) == ("pending", "due again", "processed")


@both_databases
def test_a_handler_that_ends_the_process_politely_has_failed(deliver, work, stored):
    @handles("test.event")
    def leaves(_event, _session):
        raise SystemExit(0)

    deliver("test.event", event_id="evt_1")
    deliver(event_id="evt_2")

    work()

    assert stored("evt_1").attempts == 1
    assert stored("evt_1").last_error.startswith("SystemExit at tests/receiver/test_worker.py:")
    assert stored("evt_2").state == "processed"


@both_databases
def test_an_error_without_words_is_recorded_by_its_name(deliver, work, stored):
    class Speechless(Exception):
        def __str__(self):
            raise RuntimeError

    @handles("test.event")
    def fails(_event, _session):
        raise shows_message(Speechless)

    deliver("test.event", event_id="evt_1")

    work()

    assert stored("evt_1").last_error.startswith("Speechless at tests/receiver/test_worker.py:")
