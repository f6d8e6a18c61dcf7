"""Crashes: every acknowledged event is in the inbox, and every effect happened exactly once."""

import json
import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from receiver.ingest.keeping import accept
from receiver.ingest.rows import Delivery
from receiver.protocol.kept import Kept
from receiver.testing import both_databases
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from receiver.worker.batch import Batch, process_next
from receiver.worker.leases import lease_due
from receiver.worker.workbench import Workbench
from tests.receiver.databases import on_postgresql, postgresql_and_sqlite_in_long_runs
from tests.receiver.faults.outcomes import all_processed, assert_exactly_once, count_events, send_all, until_accepted
from tests.receiver.processes import alive, running, workers_of


@pytest.fixture
def processes(database, environment):
    with running(environment | {"DATABASE_URL": database, "LOG_LEVEL": "ERROR"}, HANDLER_TIMEOUT="1") as receiver:
        yield receiver


@pytest.fixture
def network_sender(inbox, processes):
    return processes.sender(inbox)


def kill_and_recover(processes, network_sender, payload, inbox, rounds):
    """Kill web and worker in turn at random moments of the traffic, start them again, and drain."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    sent = []
    web, worker = processes.web("--workers", "2"), processes.worker()
    for number in range(2 * rounds):
        batch = [payload("payment.success", transaction_id=f"TXN-{number}-{i}") for i in range(10)]
        with ThreadPoolExecutor(1) as pool:
            traffic = pool.submit(send_all, network_sender, batch)
            limit = len(sent) + chance.randrange(8)
            eventually(lambda traffic=traffic, limit=limit: traffic.done() or count_events(inbox) >= limit)
            if number % 2:
                processes.kill(web)
                web = processes.web("--workers", "2")
            else:
                processes.kill(worker)
                worker = processes.worker()
            answers = traffic.result()
        assert {answer.status for answer in answers} == {200}
        sent += batch
    eventually(lambda: all_processed(inbox))
    assert_exactly_once(inbox, sent)


@postgresql_and_sqlite_in_long_runs
@pytest.mark.parametrize("times", [2, pytest.param(50, marks=pytest.mark.soak)])
def test_killing_web_and_worker_again_and_again_loses_nothing_and_repeats_nothing(
    processes, network_sender, payload, inbox, times
):
    processes.environment |= {"EMBEDDED_WORKER": "0", "WORKER_BATCH": "2"}

    kill_and_recover(processes, network_sender, payload, inbox, rounds=times)


@postgresql_and_sqlite_in_long_runs
@pytest.mark.parametrize("many", [100, pytest.param(1000, marks=pytest.mark.soak)])
def test_many_simultaneous_deliveries_of_one_event_have_one_effect(processes, network_sender, payload, inbox, many):
    processes.web(*(["--workers", "2"] if inbox.engine.dialect.name == "postgresql" else []))
    sent, together = payload("payment.success"), threading.Barrier(many)

    def deliver_with_all_others(_number):
        together.wait()
        return until_accepted(network_sender, sent)

    with ThreadPoolExecutor(many) as pool:
        answers = list(pool.map(deliver_with_all_others, range(many)))

    results = [answer.json["status"] for answer in answers]
    assert set(results) <= {"accepted", "duplicate"}
    assert (
        results.count("accepted") <= 1
    )  # whose answer came too late for its sender was a duplicate when it came again
    eventually(lambda: all_processed(inbox))
    assert_exactly_once(inbox, [sent])


@pytest.mark.soak
@both_databases
def test_gunicorn_alone_is_a_whole_receiver(processes, network_sender, payload, inbox):
    processes.web()
    sent = [payload("payment.success", transaction_id=f"TXN-{i}") for i in range(3)]

    send_all(network_sender, sent)

    eventually(lambda: all_processed(inbox))
    assert_exactly_once(inbox, sent)


def test_the_embedded_worker_is_started_again_when_it_dies(processes, network_sender, payload, inbox):
    web = processes.web()
    eventually(lambda: workers_of(web.pid))

    os.kill(workers_of(web.pid)[0], signal.SIGKILL)
    send_all(network_sender, [payload("payment.success")])

    eventually(lambda: count_events(inbox) == 1 and all_processed(inbox))


def test_the_embedded_worker_keeps_no_socket_of_the_master_and_does_not_outlive_it(processes):
    web = processes.web()
    eventually(lambda: workers_of(web.pid) and workers_of(workers_of(web.pid)[0]))
    workers = [*workers_of(web.pid), *workers_of(workers_of(web.pid)[0])]
    files = [str(file.readlink()) for pid in workers for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()]

    os.kill(web.pid, signal.SIGKILL)
    web.wait()

    assert not [file for file in files if file.startswith("socket:")]
    eventually(lambda: not any(alive(pid) for pid in workers))


@on_postgresql
def test_a_worker_that_slept_past_its_lease_changes_nothing(inbox, deliver, stored):

    deliver("payment.success", event_id="evt_1")
    sleeper = Workbench(inbox, "sleeper")
    (slept,) = lease_due(sleeper)
    inbox.clock.advance(minutes=10)
    process_next(Workbench(inbox, "another"))
    settled = stored("evt_1")

    with Batch(sleeper, [slept]) as batch:
        batch.attempt(slept)
        batch.commit()

    assert (stored("evt_1").state, stored("evt_1").finished_at) == ("processed", settled.finished_at)


@on_postgresql
@pytest.mark.parametrize(("workers", "events"), [(4, 400), pytest.param(16, 2000, marks=pytest.mark.soak)])
def test_many_workers_over_many_events_run_each_once(processes, inbox, intake, payload, workers, events):
    sent = [payload("payment.success", transaction_id=f"TXN-{number}") for number in range(events)]
    for event in sent:
        body = json.dumps(event).encode()
        accept(intake, inbox.settings.read_event(body), Delivery(Kept(body), "r"))

    parent = processes.worker("--processes", str(workers), "--drain")

    assert parent.wait(PATIENCE_SECONDS) == 0
    assert_exactly_once(inbox, sent)
