"""`advance()`: the newest event wins, in whatever order events come and whatever they are dated."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
import sqlalchemy as sa

from receiver.actions.replay import replay
from receiver.testing import both_databases
from receiver.tracked import FUTURE_ALLOWED
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs
from tests.receiver.partner.models import ProbePolicy

LAST = datetime.max.replace(tzinfo=UTC)


def test_all_orders_of_one_policys_five_events_end_in_the_same_state(sender, payload, work, session):
    ends = set()
    for number, order in enumerate(permutations(range(5))):
        policy = f"POL-{number}"
        for step in order:
            event_type = "policy.cancelled" if step in (3, 4) else "policy.issued"
            moment = f"2026-11-0{min(step, 3) + 1}T00:00:00Z"
            sender.deliver(payload(event_type, event_id=f"{policy}-{step}", policy_id=policy, timestamp=moment))
    work()

    for number in range(120):
        row = session.get(ProbePolicy, f"POL-{number}")
        ends.add((row.status, row.occurred_at, row.event_id.rpartition("-")[2]))

    assert len(ends) == 1
    assert ends.pop()[0] == "cancelled"


def test_an_event_dated_in_the_future_does_not_freeze_the_row(perform, session):
    perform("policy.issued", policy_id="POL-1", timestamp="2999-01-01T00:00:00Z")

    perform("policy.cancelled", policy_id="POL-1", timestamp="2999-01-02T00:00:00Z")

    assert session.get(ProbePolicy, "POL-1").status == "cancelled"
    assert session.get(ProbePolicy, "POL-1").occurred_at.year < 2999


def test_an_event_without_the_reference_that_its_handler_needs_is_dead_at_once(deliver, work, stored):
    deliver("policy.issued", event_id="evt_1", policy_id=None)
    work()

    row = stored("evt_1")
    assert (row.state, row.attempts) == ("dead", 1)
    assert "reference" in row.last_error


@pytest.fixture
def in_the_morning(clock):
    """One in the morning: the next hours are of one day."""
    now = clock.now()
    clock.advance(seconds=(now.replace(hour=1, minute=0, second=0) + timedelta(days=1) - now).total_seconds())


@postgresql_and_sqlite_in_long_runs
@pytest.mark.usefixtures("in_the_morning")
def test_all_orders_end_the_same_whatever_is_dated_in_the_future_and_whenever_it_is_processed(
    deliver, work, stored, session, inbox, clock
):
    now = clock.now()
    moments = [
        now - timedelta(days=3),
        now - timedelta(days=2),
        datetime(2999, 1, 1, tzinfo=UTC),
        LAST,
        now + timedelta(days=40),
    ]
    names = [f"evt_{number}" for number in range(len(moments))]
    for name, moment in zip(names, moments, strict=True):
        deliver("account.updated", event_id=name, status=name, timestamp=moment.isoformat())
        clock.advance(hours=1)
    ends = set()

    for order in list(permutations(names))[::7]:
        with inbox.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM probe_topics")
        for name in order:
            clock.advance(hours=5)
            work() if stored(name).state == "pending" else replay(inbox, stored(name).id, actor="test")
            work()
        with inbox.engine.connect() as connection:
            ends.add(
                tuple(connection.execute(sa.text("SELECT status, rank, occurred_at, event_id FROM probe_topics")).one())
            )

    assert len(ends) == 1
    assert ends.pop()[0] == "evt_3"


@both_databases
@pytest.mark.usefixtures("in_the_morning")
def test_two_events_from_the_future_end_the_same_in_whatever_order_they_arrive(deliver, work, session):
    early, late = ("policy.cancelled", "2999-01-01T00:00:00Z"), ("policy.issued", "2999-01-02T00:00:00Z")
    for policy, order in (("POL-1", (early, late)), ("POL-2", (late, early))):
        for number, (event_type, moment) in enumerate(order):
            deliver(event_type, event_id=f"{policy}-{number}", policy_id=policy, timestamp=moment)
            work()

    assert [session.get(ProbePolicy, policy).status for policy in ("POL-1", "POL-2")] == ["issued", "issued"]


@both_databases
def test_a_later_event_wins_over_one_from_the_future_even_when_that_is_replayed_later(
    deliver, work, stored, session, clock, inbox
):
    deliver("policy.issued", event_id="future", policy_id="POL-1", timestamp="9999-12-31T23:59:59Z")
    work()
    clock.advance(days=1)
    deliver("policy.cancelled", event_id="real", policy_id="POL-1", timestamp=clock.now().isoformat())
    work()
    clock.advance(days=30)
    replay(inbox, stored("future").id, actor="test")
    work()

    assert session.get(ProbePolicy, "POL-1").status == "cancelled"


def test_a_clock_that_is_a_little_ahead_is_believed(perform, session, clock):
    moment = (clock.now() + FUTURE_ALLOWED - timedelta(minutes=1)).replace(microsecond=0)

    perform("policy.issued", policy_id="POL-1", timestamp=moment.isoformat())

    assert session.get(ProbePolicy, "POL-1").occurred_at == moment
