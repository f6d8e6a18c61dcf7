"""§6 Retry policy, theirs and ours."""

import time
from datetime import timedelta
from random import Random

import pytest
import sqlalchemy as sa

from receiver.registry import PermanentFailure, handles
from receiver.store.models import AuditEntry
from receiver.testing import both_databases
from receiver.worker.batch import process_next
from receiver.worker.leases import hand_back, lease_due, recover
from receiver.worker.workbench import Workbench

clause = pytest.mark.clause


@pytest.fixture
def short_limit(environment):
    environment["HANDLER_TIMEOUT"] = "0.3"


@pytest.fixture
def failing():
    """A handler that fails as often as it is told."""

    def register(error, times=100):
        calls = []

        @handles("test.event")
        def fail(event, session):
            calls.append(event.id)
            if len(calls) <= times:
                raise error

        return calls

    return register


@clause("6.1")
@both_databases
def test_a_failing_handler_never_fails_the_delivery(failing, deliver, work, stored):
    failing(RuntimeError("no"))

    answer = deliver("test.event", event_id="evt_1")
    work()

    assert answer.status == 200
    assert (stored("evt_1").state, stored("evt_1").attempts) == ("pending", 1)


@clause("6.2")
@both_databases
def test_a_handler_that_fails_twice_is_run_again_until_it_succeeds(failing, deliver, work, stored, clock):
    calls = failing(RuntimeError("no"), times=2)
    deliver("test.event", event_id="evt_1")

    for _ in range(3):
        work()
        clock.advance(hours=2)

    assert len(calls) == 3
    assert (stored("evt_1").state, stored("evt_1").last_error) == ("processed", None)


@pytest.fixture
def pauses(deliver, work, stored, clock, inbox):
    """Let an event fail until it is dead. Returns the pauses before its second attempt, its third, and so on."""

    def until_dead(event_id):
        deliver("test.event", event_id=event_id)
        waited = []
        while True:
            work()
            row = stored(event_id)
            if row.state == "dead":
                return waited
            waited.append((row.due_at - clock.now()).total_seconds())
            clock.advance(seconds=waited[-1] + 1)

    return until_dead


class Extreme(Random):
    """Random numbers that are all the same."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def random(self):
        return self.value


@clause("6.2")
@pytest.mark.parametrize("number", [0.0, 0.5, 1.0])
def test_attempts_reach_over_a_day_whatever_the_random_numbers_are(failing, inbox, pauses, number):
    failing(RuntimeError("the bank is down"))
    object.__setattr__(inbox, "random", Extreme(number))

    reach = timedelta(seconds=sum(pauses("evt_1")))

    assert timedelta(hours=25) < reach < timedelta(hours=52)


@clause("6.2")
def test_the_first_retries_come_within_seconds_and_pauses_grow_up_to_a_cap(failing, pauses):
    failing(RuntimeError("a glitch"))

    waited = pauses("evt_1")

    assert 4 < waited[0] < 11
    assert waited[:7] == sorted(waited[:7])
    assert max(waited) <= 6 * 3600


@clause("6.2")
def test_events_that_failed_together_are_not_tried_together(failing, deliver, work, stored):
    failing(RuntimeError("the bank is down"))
    for number in range(20):
        deliver("test.event", event_id=f"evt_{number}")
    work()

    due = [stored(f"evt_{number}").due_at for number in range(20)]

    assert max(due) - min(due) > timedelta(seconds=2)


@clause("6.2")
def test_an_outage_of_half_an_hour_ends_with_every_event_processed(failing, deliver, work, stored, clock):
    @handles("test.event")
    def needs_the_bank(event, session):
        if clock.now() < back_at:
            raise ConnectionError("the bank is down")

    back_at = clock.now() + timedelta(minutes=30)
    for number in range(10):
        deliver("test.event", event_id=f"evt_{number}")
    for _ in range(90):
        work()
        clock.advance(minutes=1)

    assert {stored(f"evt_{number}").state for number in range(10)} == {"processed"}


@clause("6.3")
@both_databases
def test_after_the_last_attempt_an_event_is_dead(failing, deliver, work, stored, clock):
    failing(RuntimeError("no"))
    deliver("test.event", event_id="evt_1")

    for _ in range(20):
        work()
        clock.advance(hours=7)

    assert (stored("evt_1").state, stored("evt_1").attempts) == ("dead", 16)


@clause("6.3")
@both_databases
def test_a_permanent_failure_is_dead_at_once(failing, deliver, work, stored):
    failing(PermanentFailure("never"))
    deliver("test.event", event_id="evt_1")

    work()

    assert (stored("evt_1").state, stored("evt_1").attempts) == ("dead", 1)


@clause("6.3")
@both_databases
def test_a_redelivery_of_a_dead_event_makes_it_due_again_at_most_once_an_hour(
    failing, sender, payload, work, stored, session
):
    calls = failing(PermanentFailure("never"))
    sent = payload("test.event", event_id="evt_1")

    for _ in range(3):
        sender.deliver(sent)
        work()

    revived = session.scalars(sa.select(AuditEntry.actor).where(AuditEntry.action == "replay")).all()
    assert len(calls) == 2
    assert revived == ["redelivery"]


@clause("6.4")
@both_databases
def test_check_exits_non_zero_on_a_dead_event(app, failing, deliver, work):
    runner = app.test_cli_runner()
    healthy = runner.invoke(args=["events", "check"]).exit_code

    failing(PermanentFailure("never"))
    deliver("test.event")
    work()

    assert healthy == 0
    assert runner.invoke(args=["events", "check"]).exit_code == 1


@clause("6.4")
def test_check_exits_non_zero_on_a_burst_of_rejections(app):
    for _ in range(30):
        app.test_client().post("/webhooks/senang")

    result = app.test_cli_runner().invoke(args=["events", "check", "--max-rejected", "5"])

    assert result.exit_code == 1
    assert "rejected" in result.output


@both_databases
@pytest.mark.usefixtures("short_limit")
def test_a_handler_that_hangs_is_stopped_at_its_time_limit_and_its_writes_are_undone(deliver, work, stored):
    @handles("test.event")
    def hang(event, session):
        try:
            while True:
                time.monotonic()
        except Exception:
            return

    deliver("test.event", event_id="evt_1")
    work()

    assert stored("evt_1").state == "pending"
    assert "time limit" in stored("evt_1").last_error


@both_databases
@pytest.mark.parametrize("misuse", ["commit", "rollback", "close", "COMMIT", "swallowed"])
def test_a_handler_that_tries_to_end_its_transaction_gets_an_error_that_says_why_not(deliver, work, stored, misuse):
    @handles("test.event")
    def misbehave(event, session):
        if misuse == "COMMIT":
            session.execute(sa.text("COMMIT"))
        elif misuse == "swallowed":
            try:
                session.commit()
            except Exception:
                return
        else:
            getattr(session, misuse)()

    deliver("test.event", event_id="evt_1")
    work()

    assert stored("evt_1").state == "pending"
    assert "may not" in stored("evt_1").last_error


@both_databases
def test_a_handler_may_undo_a_part_with_a_savepoint(deliver, work, stored):
    @handles("test.event")
    def careful(event, session):
        with session.begin_nested() as part:
            session.execute(sa.text("SELECT 1"))
            part.rollback()

    deliver("test.event", event_id="evt_1")
    work()

    assert stored("evt_1").state == "processed"


@both_databases
def test_an_event_that_kills_its_worker_every_time_ends_dead_and_takes_no_neighbour_with_it(
    deliver, inbox, work, stored, clock, environment
):
    deliver("payment.success", event_id="poison")
    deliver("payment.success", event_id="neighbour")
    batches, poisoned = [], Workbench(inbox, "dies with the poison")

    for _ in range(20):
        leases = [lease.event_id for lease in lease_due(poisoned)]
        batches.append(leases)
        clock.advance(hours=1)
        if leases == ["neighbour"]:
            break
    clock.advance(hours=1)
    work()

    assert batches[0] == ["poison", "neighbour"]
    assert all(len(batch) <= 1 for batch in batches[1:])


@both_databases
def test_the_attempts_of_an_event_that_kills_its_worker_reach_over_a_day_too(deliver, inbox, stored, clock):
    deliver("payment.success", event_id="poison")
    began, died_at, bench = clock.now(), [], Workbench(inbox, "worker")

    while stored("poison").state == "pending":
        for lease in lease_due(bench):
            recover(inbox, "worker", begun=lease.inbox_id, died=True)
            died_at.append(clock.now())
        clock.advance(seconds=max(0, (stored("poison").due_at - clock.now()).total_seconds()) + 1)

    assert len(died_at) == inbox.settings.max_attempts
    assert died_at[1] - began < timedelta(minutes=2)
    assert died_at[-1] - began > timedelta(hours=24)


@both_databases
def test_a_hand_back_costs_no_attempt(deliver, inbox, stored):
    deliver("payment.success", event_id="evt_1")
    leases = lease_due(Workbench(inbox, "stopping"))

    hand_back(inbox, leases)

    assert (stored("evt_1").attempts, stored("evt_1").lease_token) == (0, None)
    assert process_next(Workbench(inbox, "next")) == 1
