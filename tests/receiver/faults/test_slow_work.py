"""Slow work holds up no quick work: with SLOW_PROCESSES, follow-ups and slow handlers have processes of their own."""

import re

import pytest

from receiver.testing.waiting import eventually
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs
from tests.receiver.processes import running

LONGER_THAN_ANY_TEST = 3000


@pytest.fixture
def receiver(environment, database):
    settings = environment | {"DATABASE_URL": database, "HANDLER_TIMEOUT": "3600", "EMBEDDED_WORKER": "0"}
    with running(settings) as receiver:
        yield receiver


@postgresql_and_sqlite_in_long_runs
def test_quick_events_are_processed_while_slow_ones_run_and_the_page_says_who_runs_what(
    receiver, deliver, stored, signed_in
):
    for number in range(3):
        deliver("probe.slow.one", event_id=f"evt_slow_{number}", data={"seconds": LONGER_THAN_ANY_TEST})
    for number in range(3):
        deliver("payment.success", event_id=f"evt_quick_{number}")

    receiver.environment["SLOW_PROCESSES"] = "1"
    receiver.worker()

    eventually(lambda: stored("evt_slow_0").lease_token)
    eventually(lambda: all(stored(f"evt_quick_{number}").state == "processed" for number in range(3)))
    assert [stored(f"evt_slow_{number}").state for number in range(3)] == ["pending"] * 3
    page = lambda: signed_in("viewer").get("/workers").text  # noqa: E731
    eventually(lambda: "evt_slow_0" in page())
    runs, leases = (re.findall(rf'data-label="{what}">(\w+)<', page()) for what in ("Runs", "Leases"))
    assert dict(zip(runs, leases, strict=True)) == {"quick": "0", "slow": "3"}


@postgresql_and_sqlite_in_long_runs
def test_each_process_leaves_alone_what_is_the_others(receiver, deliver, stored, follow_ups, mail_server, other_system):
    receiver.environment |= {"SLOW_PROCESSES": "1", "PROBE_MAIL": mail_server.url, "PROBE_SYSTEM": other_system.url}
    deliver("probe.slow.one", event_id="evt_slow", data={"seconds": 0})
    deliver("probe.told", event_id="evt_told", transaction_id="TXN-7")
    deliver("payment.success", event_id="evt_quick")

    receiver.flask("worker", "--drain")

    assert [stored(event_id).state for event_id in ("evt_slow", "evt_told", "evt_quick")] == ["processed"] * 3
    receiver.flask("worker", "--drain")
    assert [asked.state for asked in follow_ups("evt_told")] == ["processed"] * 2
