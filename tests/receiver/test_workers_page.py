"""The page of workers: who lives and what it runs, and how attempts of each type ended and how long they took.

That a worker says what it runs is shown by real processes in faults/test_slow_work.py.
"""

import html
import re

import pytest
import sqlalchemy as sa

from receiver.maintenance.rollup import INTERVAL, roll_up_if_due
from receiver.registry import PermanentFailure, handles
from receiver.store.models import AuditEntry, Heartbeat
from receiver.testing import both_databases
from receiver.worker.leases import lease_due
from receiver.worker.workbench import Workbench
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs


@pytest.fixture
def page(signed_in):
    """The text of the page, after a sign-in at first use: each line of a table in one line."""

    def show(address="/workers"):
        text = re.sub(r"(?s)<script.*?</script>|<thead>.*?</thead>", "", signed_in("viewer").get(address).text)
        rows = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", re.sub(r"\s+", " ", text).replace("<tr", "\n<tr")))
        return html.unescape(rows), [row_of(row) for row in re.findall(r"(?s)<tr[ >].*?</tr>", text)]

    return show


def row_of(text):
    """What stands in the cells of a row."""
    cells = re.findall(r"(?s)<td.*?>(.*?)</td>", text)
    return [html.unescape(re.sub(r"\s+", " ", re.sub("<[^>]*>", "", cell))).strip() for cell in cells]


@pytest.fixture
def summed(inbox, clock):
    """Let a worker sum."""

    def turn():
        clock.advance(seconds=INTERVAL.total_seconds())
        roll_up_if_due(inbox)

    return turn


@both_databases
def test_leases_are_counted_by_worker_and_workers_that_are_gone_are_no_longer_listed(inbox, deliver, page, clock):
    for _ in range(3):
        deliver()
    with inbox.engine.begin() as connection:
        for name in ("one", "two", "purge"):
            connection.execute(sa.insert(Heartbeat).values(worker=name, started_at=inbox.now(), seen_at=inbox.now()))
    lease_due(Workbench(inbox, "two"))
    living = page()[1]
    clock.advance(minutes=2)
    text, rows = page()

    assert [(row[0], row[-1]) for row in living] == [("one", "0"), ("two", "3")]
    assert rows == []
    assert "No worker lives." in text
    assert "2 others were seen within a day." in text


@postgresql_and_sqlite_in_long_runs
def test_attempts_are_shown_by_type_with_how_they_ended_and_how_long_half_and_nearly_all_took(
    inbox, deliver, work, page, summed
):
    @handles("test.dies")
    def dies(event, session):
        raise PermanentFailure("no use")

    deliver("probe.told")
    deliver("test.dies")
    work()
    with inbox.engine.begin() as connection:
        for milliseconds in [20] * 98 + [3000, 400_000]:
            row = {"action": "attempt", "result": "processed", "event_type": "test.timed", "at": inbox.now()}
            connection.execute(sa.insert(AuditEntry).values(row | {"duration_ms": milliseconds}))
    summed()

    text, rows = page()

    found = {row[0]: row[1:] for row in rows}
    assert found["test.timed"] == ["100", "0", "0", "0", "0", "0", "0", "≤ 25 ms", "≤ 5 s"]
    assert found["test.dies"][:3] == ["0", "0", "1"]
    assert {"probe.write", "probe.call"} < set(found)
    assert found["all types"][:3] == ["101", "2", "1"]
    assert "2 follow-ups were asked for." in text


def test_attempts_of_another_time_are_left_out(deliver, work, page, summed, clock):
    deliver()
    work()
    summed()
    clock.advance(hours=25)
    today, week = page("/workers")[0], page("/workers?span=7d")[0]

    assert "No attempt was summed." in today
    assert "payment.success" in week


def test_the_overview_sums_attempts_and_follow_ups_and_leads_to_the_page(deliver, work, page, summed):
    deliver("probe.told")
    work()
    summed()

    text = page("/")[0]

    assert "Attempts: 1 processed, 2 failed, 0 dead, and 2 follow-ups asked for." in text
