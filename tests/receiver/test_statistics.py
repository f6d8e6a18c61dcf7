"""The overview: every audit row is summed exactly once, whoever sums it and whenever it commits."""

import threading
from datetime import timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa

from bench.fill import fill
from bench.plans import complaints
from receiver.database.engine import reading, writing
from receiver.ingest.noting import write_finished_counts
from receiver.maintenance import rollup
from receiver.maintenance.retention import purge
from receiver.maintenance.rollup import INTERVAL, roll_up_if_due
from receiver.queries.count import Count
from receiver.queries.health import health
from receiver.queries.overview import overview
from receiver.registry import PermanentFailure, handles
from receiver.store.audit import record, write_remaining_sums
from receiver.store.models import AuditEntry, SummedUntil
from receiver.testing import both_databases
from receiver.testing.waiting import eventually
from tests.receiver.databases import on_postgresql, postgresql_and_sqlite_in_long_runs


@pytest.fixture(autouse=True)
def _in_the_middle_of_an_hour(clock):
    clock.advance(minutes=(30 - clock.now().minute) % 60)


@pytest.fixture
def roll_up(inbox, clock):
    """A worker's turn, when the next one is due."""

    def turn():
        clock.advance(seconds=INTERVAL.total_seconds())
        return roll_up_if_due(inbox)

    return turn


@pytest.fixture
def knock(app):
    """A delivery without a signature."""
    return lambda: app.test_client().post("/webhooks/senang", data=b"{}")


def results(inbox, hours=1):
    return {name: number for name, number in overview(inbox, hours).totals.items() if number}


@both_databases
def test_deliveries_and_attempts_are_summed_by_their_results(inbox, deliver, sender, payload, knock, work, roll_up):
    @handles("test.fails")
    def fails(event, session):
        raise ValueError

    @handles("test.dies")
    def dies(event, session):
        raise PermanentFailure("no use")

    known = payload("test.unknown")
    sender.deliver(known)
    sender.deliver(known)
    deliver("test.fails")
    deliver("test.dies")
    deliver()
    sender.deliver({"no": "event"})
    knock()
    work()
    roll_up()

    assert results(inbox) == {
        "accepted": 4,
        "processed": 1,
        "duplicate": 1,
        "quarantined": 1,
        "rejected": 1,
        "failed": 1,
        "dead": 1,
    }


@both_databases
def test_each_row_is_summed_once_however_often_one_looks(inbox, deliver, roll_up):
    deliver()
    roll_up()
    roll_up()
    deliver()
    roll_up()

    assert results(inbox) == {"accepted": 2}


@both_databases
def test_a_turn_is_taken_once_in_ten_seconds(inbox, deliver, roll_up, clock):
    roll_up()
    deliver()
    clock.advance(seconds=1)

    assert roll_up_if_due(inbox) == 0
    assert results(inbox) == {}


@both_databases
def test_what_the_tally_summed_counts_as_often_as_it_happened(inbox, knock, roll_up):
    for _ in range(25):
        knock()
    write_remaining_sums(inbox)
    roll_up()

    assert results(inbox) == {"rejected": 25}


@postgresql_and_sqlite_in_long_runs
def test_a_burst_of_refusals_is_written_though_nothing_comes_after_it(app, inbox, knock, clock):
    for _ in range(25):
        knock()
    clock.advance(minutes=1)

    write_finished_counts(app)

    eventually(lambda: sum(health(inbox).rejected.values()) == 25)


@postgresql_and_sqlite_in_long_runs
def test_many_rows_are_summed_in_batches_and_none_is_left_out(inbox, roll_up):
    fill(inbox.engine, 25_000)

    roll_up()

    assert sum(results(inbox, 24 * 62).values()) == 50_000


@pytest.mark.soak
@both_databases
def test_workers_that_sum_at_once_sum_each_row_once(inbox, clock):
    fill(inbox.engine, 25_000)
    workers = [threading.Thread(target=roll_up_if_due, args=(inbox,)) for _ in range(4)]

    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    clock.advance(seconds=10)
    roll_up_if_due(inbox)

    assert sum(results(inbox, 24 * 62).values()) == 50_000


@on_postgresql
def test_a_row_that_commits_after_a_higher_one_is_not_left_out(inbox, deliver, roll_up):
    with writing(inbox.engine) as slow:
        record(slow, inbox, "delivery", "accepted")
        deliver()
        summed_meanwhile = roll_up()
    roll_up()

    assert summed_meanwhile == 0
    assert results(inbox) == {"accepted": 2}


@both_databases
def test_a_turn_that_fails_has_summed_nothing(inbox, deliver, roll_up):
    deliver()
    with inbox.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE summed_until RENAME COLUMN last_good_at TO gone"))
    with pytest.raises(sa.exc.SQLAlchemyError):
        roll_up()
    with inbox.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE summed_until RENAME COLUMN gone TO last_good_at"))
    roll_up()

    assert results(inbox) == {"accepted": 1}


@both_databases
def test_every_hour_is_there_and_holds_what_happened_in_it(inbox, deliver, roll_up, clock):
    deliver()
    clock.advance(hours=3)
    deliver()
    deliver()
    roll_up()

    hours = overview(inbox, 24).hours

    assert [hour.accepted for hour in hours[-4:]] == [1, 0, 0, 2]
    assert len(hours) == 24
    assert {b.at - a.at for a, b in pairwise(hours)} == {timedelta(hours=1)}


@both_databases
def test_it_says_as_of_when_it_is(inbox, deliver, roll_up, clock):
    deliver()
    before = overview(inbox, 1)
    roll_up()
    after = overview(inbox, 1)

    assert before.as_of is None
    assert clock.now() - after.as_of < timedelta(minutes=10)


@postgresql_and_sqlite_in_long_runs
def test_while_it_catches_up_it_is_as_of_the_last_row_that_it_summed(inbox, clock):
    fill(inbox.engine, (rollup.BATCH * rollup.MOST_BATCHES) // 2 + 1000)

    roll_up_if_due(inbox)
    catching_up = overview(inbox, 1).as_of
    clock.advance(seconds=10)
    roll_up_if_due(inbox)

    assert clock.now() - catching_up > timedelta(hours=1)
    assert clock.now() - overview(inbox, 1).as_of < timedelta(minutes=10)


@both_databases
def test_latency_is_told_by_the_bound_of_its_bucket(inbox, intake):
    for milliseconds, times in ((0.4, 1), (3, 48), (18, 49), (700, 1), (9000, 1)):
        for _ in range(times):
            intake.latencies.note(inbox.clock.now(), milliseconds)
        intake.latencies.write(inbox.engine)

    latency = overview(inbox, 1).latency

    assert (latency.deliveries, latency.p50, latency.p99) == (100, 20, 1000)


@both_databases
def test_latency_beyond_the_last_bucket_is_infinite_and_without_deliveries_unknown(inbox, intake):
    nothing = overview(inbox, 1).latency
    intake.latencies.note(inbox.clock.now(), 60_000)
    intake.latencies.write(inbox.engine)

    assert (nothing.deliveries, nothing.p50, nothing.p99) == (0, None, None)
    assert overview(inbox, 1).latency.p99 == float("inf")


@both_databases
def test_every_delivery_that_was_kept_is_timed(deliver, inbox, intake):
    deliver(event_id="evt_1")
    deliver(event_id="evt_1")

    intake.latencies.write(inbox.engine)

    assert overview(inbox, 1).latency.deliveries == 2


@both_databases
def test_failed_answers_are_counted_from_the_last_good_one_on(inbox, deliver, knock, roll_up, clock):
    knock()
    deliver()
    knock()
    roll_up()
    knock()
    roll_up()
    warned = health(inbox)
    deliver()
    roll_up()

    assert warned.refused_in_a_row == 2
    assert health(inbox).refused_in_a_row == 0
    assert clock.now() - warned.last_good_answer > timedelta(seconds=20)


@both_databases
def test_a_burst_that_was_over_before_the_last_good_answer_warns_of_nothing(inbox, deliver, knock, roll_up, clock):
    for _ in range(30):
        knock()
    clock.advance(minutes=2)
    deliver()

    eventually(lambda: (roll_up(), results(inbox))[1] == {"accepted": 1, "rejected": 30})
    assert health(inbox).refused_in_a_row == 0


@both_databases
def test_a_stale_delivery_that_was_kept_was_still_refused(inbox, roll_up):
    with writing(inbox.engine) as session:
        record(session, inbox, "delivery", "quarantined: unusable")
        record(session, inbox, "delivery", "quarantined: stale")
    roll_up()

    assert health(inbox).refused_in_a_row == 1


@both_databases
def test_the_last_delivery_is_the_last_authentic_one(inbox, deliver, knock, roll_up, clock):
    never = health(inbox).last_delivery
    deliver(event_id="evt-1")
    clock.advance(hours=1)
    live = health(inbox).last_delivery
    deliver(event_id="evt-1")
    knock()
    roll_up()

    assert never is None
    assert timedelta(minutes=59) < clock.now() - live < timedelta(minutes=80)
    assert clock.now() - health(inbox).last_delivery < timedelta(minutes=20)


@both_databases
def test_what_is_due_dead_and_quarantined_is_of_this_moment(inbox, deliver, sender, work):
    @handles("test.dies")
    def dies(event, session):
        raise PermanentFailure("no use")

    deliver("test.dies")
    work()
    sender.deliver({"no": "event"})
    deliver()

    now = health(inbox)

    assert overview(inbox, 1).due == Count(1)
    assert (now.counts["dead"], now.counts["quarantined"]) == (Count(1), Count(1))
    assert now.oldest_due is not None


@both_databases
def test_what_was_seen_for_the_first_time_is_told_newest_first(inbox, deliver, work, clock):
    deliver("payment.success")
    work()
    clock.advance(hours=1)
    deliver("policy.issued", data={"colour": "red"})
    work()

    seen = overview(inbox, 1)

    assert [new.name for new in seen.new_types] == ["policy.issued", "payment.success"]
    assert seen.new_fields[0].name == "data.colour"
    assert seen.new_types[0].at > seen.new_types[1].at


@both_databases
def test_sums_are_purged_after_four_hundred_days(inbox, deliver, roll_up, clock):
    deliver()
    roll_up()
    clock.advance(days=399)
    purge(inbox, actor="test")
    kept = results(inbox, 24 * 400)
    clock.advance(days=2)
    purge(inbox, actor="test")

    assert kept == {"accepted": 1}
    assert results(inbox, 24 * 402) == {}


@both_databases
def test_the_overview_counts_nothing_beyond_a_cap(inbox, roll_up):
    fill(inbox.engine, 3000)
    roll_up()

    for hours in (24, 24 * 7, 24 * 30):
        planner = ("enable_seqscan = off",)
        assert complaints(inbox.engine, lambda hours=hours: overview(inbox, hours), planner=planner) == []


@both_databases
def test_the_migration_makes_the_only_row_of_the_position(inbox):
    with reading(inbox.engine) as session:
        assert session.scalars(sa.select(SummedUntil.audit_id)).all() == [0]
        assert session.scalar(sa.select(sa.func.count()).select_from(AuditEntry)) == 0
