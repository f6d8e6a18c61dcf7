"""HUP to gunicorn's master: the processes are replaced under traffic, and not an event is lost or repeated."""

import signal

import pytest

from receiver.testing.waiting import eventually
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs
from tests.receiver.faults.outcomes import all_processed, assert_exactly_once, traffic
from tests.receiver.processes import alive, running, workers_of


@pytest.fixture
def processes(database, environment):
    with running(environment | {"DATABASE_URL": database, "LOG_LEVEL": "ERROR", "WEB_CONCURRENCY": "1"}) as receiver:
        yield receiver


@pytest.fixture
def web(processes):
    web = processes.web()
    eventually(lambda: workers_of(web.pid))
    return web


def test_hup_replaces_the_embedded_worker(web):
    (before,) = workers_of(web.pid)

    web.send_signal(signal.SIGHUP)

    eventually(lambda: not alive(before) and len(workers_of(web.pid)) == 1)
    assert workers_of(web.pid) != [before]


@postgresql_and_sqlite_in_long_runs
def test_traffic_before_during_and_after_a_reload_is_accepted_and_processed_once(web, processes, payload, inbox):
    (before,) = workers_of(web.pid)

    with traffic(payload, processes.sender(inbox), threads=4) as flow:
        eventually(lambda: len(flow.answers) >= 20)
        web.send_signal(signal.SIGHUP)
        eventually(lambda: not alive(before) and workers_of(web.pid))
        during = len(flow.answers)
        eventually(lambda: len(flow.answers) >= during + 20)
    eventually(lambda: all_processed(inbox))

    assert flow.statuses == {200}
    assert_exactly_once(inbox, flow.sent)


def test_a_receiver_that_is_stopped_ends_without_a_traceback(processes, tmp_path):
    processes.log = tmp_path / "log"
    web = processes.web()

    web.terminate()

    assert web.wait() == 0
    assert "Traceback" not in processes.log.read_text()
