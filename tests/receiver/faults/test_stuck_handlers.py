"""Handlers that hang, die or dawdle: each is stopped, and its neighbours don't pay for it."""

import signal
import time

import pytest
import sqlalchemy as sa

from receiver.registry import handles
from receiver.store.models import Heartbeat
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.receiver.databases import on_postgresql, postgresql_and_sqlite_in_long_runs
from tests.receiver.partner.models import ProbePayment
from tests.receiver.processes import alive, free_port, running, workers_of

HANGS_SECONDS = 60
BATCH = 100
"""Events that may take a second each: a stuck one that is killed long before that is killed for its own time."""


@pytest.fixture
def environment(environment):
    return environment | {"HANDLER_TIMEOUT": "2"}


@pytest.fixture
def start_worker(database, environment):
    """Start a real worker that knows the handlers of stuck_app."""
    with running(environment | {"DATABASE_URL": database, "LOG_LEVEL": "ERROR"}, HANDLER_TIMEOUT="1") as receiver:

        def start(**settings):
            receiver.environment |= settings
            return receiver.start("-m", "flask", "--app", "tests.receiver.faults.stuck_app", "worker")

        yield start


@pytest.fixture
def deliver_between_neighbours(deliver):
    """Deliver a test event among others, so that one batch has them all."""

    def send(event_type):
        for event_id in ("evt_before", "evt_1", "evt_after"):
            deliver(event_type if event_id == "evt_1" else "payment.success", event_id=event_id)

    return send


def test_a_handler_stuck_in_c_code_is_killed_soon_after_its_own_time_limit_and_a_new_worker_starts(
    start_worker, deliver_between_neighbours, stored
):
    deliver_between_neighbours("test.stuck_in_c")
    worker = start_worker(HANDLER_TIMEOUT="1", WORKER_BATCH=str(BATCH))
    eventually(lambda: stored("evt_before").state == "processed")
    (stuck,) = workers_of(worker.pid)

    eventually(lambda: not alive(stuck), BATCH / 2)

    eventually(lambda: workers_of(worker.pid))
    assert workers_of(worker.pid) != [stuck]


def test_an_event_whose_handler_is_stuck_in_c_code_ends_dead_and_its_neighbours_are_processed(
    start_worker, deliver_between_neighbours, stored
):
    deliver_between_neighbours("test.stuck_in_c")

    start_worker(MAX_ATTEMPTS="2")

    eventually(lambda: stored("evt_1").state == "dead")
    eventually(lambda: stored("evt_after").state == "processed")
    assert stored("evt_before").state == "processed"
    assert "the worker died during every attempt" in stored("evt_1").last_error
    assert stored("evt_1").attempts == 2


@postgresql_and_sqlite_in_long_runs
def test_an_event_that_ends_its_worker_ends_dead_without_effect_and_its_neighbours_are_processed(
    start_worker, deliver_between_neighbours, stored, session
):
    deliver_between_neighbours("test.dies")

    start_worker(MAX_ATTEMPTS="2")

    eventually(lambda: stored("evt_1").state == "dead")
    eventually(lambda: stored("evt_after").state == "processed")
    assert stored("evt_before").state == "processed"
    assert "the worker died during every attempt" in stored("evt_1").last_error
    assert session.get(ProbePayment, "evt_1") is None


@postgresql_and_sqlite_in_long_runs
def test_a_neighbour_on_its_last_attempt_is_not_buried_with_the_event_that_ended_the_worker(
    start_worker, deliver_between_neighbours, stored
):
    deliver_between_neighbours("test.dies")

    start_worker(MAX_ATTEMPTS="1")

    eventually(lambda: stored("evt_1").state == "dead")
    eventually(lambda: stored("evt_after").state != "pending")
    assert stored("evt_after").state == "processed"


@on_postgresql
def test_a_handler_that_hangs_in_sql_is_stopped_at_its_time_limit_and_the_next_event_is_processed(
    deliver, work, stored
):
    @handles("test.hangs")
    def hangs(_event, handler_session):
        handler_session.execute(sa.text(f"SELECT pg_sleep({HANGS_SECONDS})"))

    deliver("test.hangs", event_id="evt_hangs")
    deliver("payment.success", event_id="evt_next")
    started = time.monotonic()

    work()

    assert time.monotonic() - started < HANGS_SECONDS
    assert stored("evt_hangs").state == "pending"
    assert "time limit" in stored("evt_hangs").last_error
    assert stored("evt_next").state == "processed"


@on_postgresql
def test_a_handler_that_was_stopped_in_sql_leaves_no_lock_in_the_way_of_its_next_attempt(deliver, work, stored, clock):
    runs = []

    @handles("test.hangs_once")
    def hangs_once(event, handler_session):
        payment = {"reference": "TXN-1", "status": "paid", "rank": 0, "occurred_at": event.occurred_at}
        handler_session.execute(sa.insert(ProbePayment).values(**payment, event_id=event.id))
        runs.append(event.id)
        if len(runs) == 1:
            handler_session.execute(sa.text(f"SELECT pg_sleep({HANGS_SECONDS})"))

    deliver("test.hangs_once", event_id="evt_1")
    work()
    clock.advance(hours=2)
    work()

    assert (stored("evt_1").state, stored("evt_1").last_error) == ("processed", None)
    assert len(runs) == 2


@postgresql_and_sqlite_in_long_runs
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_a_batch_of_slow_handlers_begins_no_other_and_hands_the_rest_back_uncharged(
    start_worker, deliver, stored, number
):
    ids = [f"evt_{number}" for number in range(5)]
    for event_id in ids:
        deliver("test.slow", event_id=event_id)
    worker = start_worker(HANDLER_TIMEOUT="5", WORKER_BATCH="5")
    eventually(lambda: all(stored(event_id).lease_token for event_id in ids))

    worker.send_signal(number)

    assert worker.wait(PATIENCE_SECONDS) == 0
    rows = [stored(event_id) for event_id in ids]
    assert {row.lease_token for row in rows} == {None}
    found = {(row.state, row.attempts) for row in rows}
    assert ("pending", 0) in found
    assert found <= {("processed", 1), ("pending", 0)}


@postgresql_and_sqlite_in_long_runs
def test_a_worker_is_seen_while_a_handler_takes_its_time(start_worker, deliver, stored, inbox):
    deliver("test.stuck_in_c", event_id="evt_1")
    start_worker(HANDLER_TIMEOUT="100")
    eventually(lambda: stored("evt_1").leased_by and heartbeats(inbox))
    with inbox.engine.execution_options(sqlite_begin="IMMEDIATE").begin() as connection:
        connection.execute(sa.delete(Heartbeat))

    eventually(lambda: stored("evt_1").leased_by in heartbeats(inbox))

    assert stored("evt_1").attempts == 1


def heartbeats(inbox):
    """The workers that are seen."""
    with inbox.engine.connect() as connection:
        return connection.scalars(sa.select(Heartbeat.worker)).all()


def test_a_command_that_is_to_drain_says_that_the_database_stays_away(environment):
    away = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    with running(environment | {"DATABASE_URL": away, "LOG_LEVEL": "ERROR"}) as receiver:
        done = receiver.flask("worker", "--drain", "--patience", "1", check=False)

    assert done.returncode == 1
    assert "The database did not answer for 1 seconds. What is due stays due: run this again." in done.stderr
