"""Handlers in order: one event of a policy at a time, and of those that are here, the one that occurred first."""

import threading
from datetime import timedelta

import pytest

from receiver.registry import PermanentFailure, handles
from receiver.testing import both_databases
from receiver.testing.waiting import eventually
from receiver.worker.batch import process_next
from receiver.worker.workbench import Workbench
from tests.receiver.databases import on_postgresql


@pytest.fixture
def ran():
    """The events that ran, in order."""
    return []


@pytest.fixture
def ordered(ran):
    """A handler of policies that needs them in order, and one that does not."""

    @handles("test.step", one_at_a_time_by="policy_id")
    def step(event, _session):
        if event.status == "broken":
            raise PermanentFailure("broken")
        ran.append(event.id)

    @handles("test.note")
    def note(event, _session):
        ran.append(event.id)


@pytest.fixture
def deliver_step(deliver, clock):
    """Deliver an event of a policy that occurred so many minutes ago."""

    def send(event_id, minutes, policy_id="POL-1", event_type="test.step", status="done"):
        moment = (clock.now() - timedelta(minutes=minutes)).isoformat()
        deliver(event_type, event_id=event_id, policy_id=policy_id, timestamp=moment, status=status)

    return send


@both_databases
def test_those_that_are_here_run_in_the_order_in_which_they_occurred(ordered, deliver_step, work, clock, ran, stored):
    for event_id, minutes in (("evt_3", 1), ("evt_1", 3), ("evt_2", 2)):
        deliver_step(event_id, minutes)

    for _ in range(3):
        work()
        clock.advance(seconds=2)

    assert ran == ["evt_1", "evt_2", "evt_3"]
    assert [stored(event_id).attempts for event_id in ran] == [1, 1, 1]


@both_databases
def test_other_policies_and_other_types_and_events_without_a_policy_do_not_wait(ordered, deliver_step, work, ran):
    deliver_step("evt_late", 1)
    deliver_step("evt_early", 2)
    deliver_step("evt_other_policy", 1, policy_id="POL-2")
    deliver_step("evt_other_type", 1, event_type="test.note")
    deliver_step("evt_no_policy", 1, policy_id=None)

    work()

    assert set(ran) - {"evt_late"} == {"evt_early", "evt_other_policy", "evt_other_type", "evt_no_policy"}
    assert "evt_late" not in ran[: ran.index("evt_early")]


@both_databases
def test_one_that_is_dead_holds_nobody_up(ordered, deliver_step, work, clock, ran, stored):
    deliver_step("evt_2", 1)
    deliver_step("evt_1", 2, status="broken")

    for _ in range(2):
        work()
        clock.advance(seconds=2)

    assert (stored("evt_1").state, ran) == ("dead", ["evt_2"])


@on_postgresql
def test_two_workers_never_run_two_of_one_policy_at_once(inbox, deliver_step, work, clock, stored):
    inside, may_end, ran = threading.Event(), threading.Event(), []

    @handles("test.step", one_at_a_time_by="policy_id")
    def step(event, _session):
        ran.append(event.id)
        inside.set()
        may_end.wait(60)

    deliver_step("evt_1", 2)
    bench = Workbench(inbox, "other", limit=_NoLimit())
    bench.paces.note_batch(1, 10)  # it leases one at a time
    other = threading.Thread(target=process_next, args=(bench,))
    other.start()
    eventually(inside.is_set)
    deliver_step("evt_0", 3)

    work()

    waiting = stored("evt_0")
    may_end.set()
    other.join()
    assert (ran, waiting.state, waiting.attempts) == (["evt_1"], "pending", 0)
    assert "another event of its policy_id is running" in waiting.last_error


class _NoLimit:
    """A worker in a thread has no signals, and here it needs none."""

    stopping = False

    def begin(self, _inbox_id):
        pass

    def of(self, _seconds, _interrupt):
        return threading.Lock()


def test_it_is_by_a_reference_that_events_have():
    with pytest.raises(ValueError, match="policy_id"):
        handles("test.step", one_at_a_time_by="customer")
