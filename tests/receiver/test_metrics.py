"""What people page on: /metrics counts each attempt once, whoever ran it, and nobody outside can grow it.

Here are the numbers of the whole receiver, which come from the database. What alarms is in
test_what_needs_a_person.py.
"""

import re

import pytest
import sqlalchemy as sa

from receiver.maintenance.attempt_sums import MOST_TYPES
from receiver.maintenance.retention import purge
from receiver.maintenance.rollup import INTERVAL, roll_up_if_due
from receiver.registry import PermanentFailure, RetryLater, handles
from receiver.store.models import AttemptTotal, AuditEntry, Heartbeat
from receiver.testing import both_databases
from receiver.testing.waiting import eventually
from receiver.web.health import SCRAPE_CACHE
from receiver.worker.leases import lease_due
from receiver.worker.workbench import Workbench
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs


@pytest.fixture
def environment(environment):
    return environment | {"METRICS_TOKEN": "a-token"}


@pytest.fixture
def scrape(app, inbox, clock):
    """What /metrics says: each number by its name and labels, after a worker has summed."""

    def ask():
        clock.advance(seconds=max(INTERVAL, SCRAPE_CACHE).total_seconds())
        roll_up_if_due(inbox)
        text = app.test_client().get("/metrics", headers={"Authorization": "Bearer a-token"}).text
        return {name: float(number) for name, number in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.M)}

    return ask


def attempts(scraped):
    """By type and result."""
    key = re.compile(r'senang_attempts_total\{event_type="(.*)",result="(.*)"\}')
    return {match.groups(): number for name, number in scraped.items() if (match := key.fullmatch(name))}


@both_databases
def test_attempts_are_counted_by_type_and_result_each_once(app, deliver, work, scrape):
    @handles("test.fails")
    def fails(event, session):
        raise ValueError

    @handles("test.dies")
    def dies(event, session):
        raise PermanentFailure("no use")

    @handles("test.waits")
    def waits(event, session):
        raise RetryLater(60)

    for event_type in ("payment.success", "payment.success", "test.fails", "test.dies", "test.waits", "test.nobody"):
        deliver(event_type)
    work()
    first = attempts(scrape())

    assert first == attempts(scrape())
    assert first == {
        ("payment.success", "processed"): 2,
        ("test.dies", "dead"): 1,
        ("test.fails", "failed"): 1,
        ("test.nobody", "unhandled"): 1,
        ("test.waits", "retry later"): 1,
    }


@postgresql_and_sqlite_in_long_runs
def test_how_long_handlers_took_is_a_histogram_by_type(inbox, deliver, work, scrape):
    deliver()
    deliver()
    work()
    with inbox.engine.begin() as connection:  # two more attempts, of which nobody doubts how long they took
        for milliseconds in (40, 400_000):
            row = {"action": "attempt", "result": "processed", "event_type": "payment.success", "at": inbox.now()}
            connection.execute(sa.insert(AuditEntry).values(row | {"duration_ms": milliseconds}))

    scraped = scrape()

    of = '{event_type="payment.success"'
    assert scraped[f"senang_handler_seconds_count{of}}}"] == 4
    assert scraped[f"senang_handler_seconds_sum{of}}}"] >= 400.04
    assert scraped[f'senang_handler_seconds_bucket{of},le="+Inf"}}'] == 4
    assert scraped[f'senang_handler_seconds_bucket{of},le="120.0"}}'] == 3
    assert scraped[f'senang_handler_seconds_bucket{of},le="0.05"}}'] >= 1


def test_a_counter_never_falls_whatever_retention_erases(inbox, deliver, work, scrape, clock):
    deliver()
    work()
    before = attempts(scrape())
    clock.advance(days=500)
    purge(inbox, actor="test")

    assert attempts(scrape()) == before


def test_types_that_look_like_none_are_counted_together(deliver, work, scrape):
    for event_type in ("siti@example.com", "900101-14-5678", 'x"} 1', "siti.nurhaliza", "y" * 90):
        deliver(event_type)
    work()

    assert attempts(scrape()) == {("other", "unhandled"): 5}


def test_there_is_an_end_to_the_types_and_none_to_those_with_a_handler(inbox, deliver, work, scrape):
    with inbox.engine.begin() as connection:
        rows = [
            {"event_type": f"test.type_{number}", "result": "processed", "bucket": "1"} for number in range(MOST_TYPES)
        ]
        connection.execute(sa.insert(AttemptTotal), [row | {"occurrences": 1, "milliseconds": 1} for row in rows])
    deliver("test.one_too_many")
    deliver("payment.success")
    work()

    found = attempts(scrape())

    assert found["other", "unhandled"] == 1
    assert found["payment.success", "processed"] == 1
    assert len({event_type for event_type, _ in found}) == MOST_TYPES + 2


def test_leases_that_were_lost_are_counted(inbox, deliver, work, scrape, clock):
    deliver()
    none_yet = scrape()
    lease_due(Workbench(inbox, "a worker that dies"))
    clock.advance(minutes=5)
    work()

    assert none_yet["senang_leases_lost_total"] == 0
    assert scrape()["senang_leases_lost_total"] == 1


def test_workers_that_were_seen_within_a_minute_are_counted(inbox, scrape, clock):
    with inbox.engine.begin() as connection:
        for worker in ("one", "two", "purge"):
            beat = {"worker": worker, "started_at": inbox.now(), "seen_at": inbox.now()}
            connection.execute(sa.insert(Heartbeat).values(beat))
    living = scrape()["senang_workers"]
    clock.advance(minutes=2)

    assert living == 2
    assert scrape()["senang_workers"] == 0


def test_the_last_delivery_is_a_moment_and_absent_before_the_first(deliver, scrape, clock):
    none_yet = scrape()
    now = clock.now().timestamp()
    deliver()

    assert "senang_last_delivery_timestamp_seconds" not in none_yet
    assert abs(scrape()["senang_last_delivery_timestamp_seconds"] - now) < 60


def test_the_oldest_due_event_is_as_old_as_its_due_time(deliver, work, scrape, clock):
    @handles("test.waits")
    def waits(event, session):
        raise RetryLater(3600)

    deliver("test.waits")
    work()
    not_due = scrape()["senang_oldest_due_seconds"]
    clock.advance(seconds=3700)

    assert not_due == 0
    assert 60 < scrape()["senang_oldest_due_seconds"] < 3600


def test_refusals_are_counted_by_reason_and_the_committers_waiting_is_told(app, deliver, scrape):
    app.test_client().post("/webhooks/senang", data=b"{}")
    deliver()

    eventually(lambda: scrape().get("senang_committer_waiting") == 0)
    assert scrape()['senang_deliveries_total{reason="missing_signature",result="rejected"}'] >= 1


def test_whoever_scrapes_often_costs_the_database_little(app, inbox, clock):
    client, asked = app.test_client(), []
    sa.event.listen(inbox.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    scrape = lambda: client.get("/metrics", headers={"Authorization": "Bearer a-token"})  # noqa: E731
    scrape()
    number = len(asked)
    for _ in range(5):
        scrape()
    again = len(asked)
    clock.advance(seconds=SCRAPE_CACHE.total_seconds())
    scrape()

    assert (number > 0, again, len(asked) > again) == (True, number, True)
