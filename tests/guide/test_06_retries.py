"""§6 Retry policy, theirs and ours."""

import time

import pytest
import sqlalchemy as sa

from app.inbox.claims import claim_due, hand_back
from app.inbox.lifecycle import BACKOFF_CAP_SECONDS, backoff
from app.inbox.models import AuditEntry
from app.inbox.time_limit import TimeLimit
from app.inbox.work import process_next
from app.registry import PermanentFailure, handles
from tests.databases import both_databases

clause = pytest.mark.clause


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


@clause("6.2")
def test_the_wait_between_attempts_grows_up_to_a_cap(inbox):
    longest = [max(backoff(attempt, inbox.random) for _ in range(200)) for attempt in (1, 4, 30)]

    assert longest == sorted(longest)
    assert longest[-1] <= BACKOFF_CAP_SECONDS


@clause("6.3")
@both_databases
def test_after_the_last_attempt_an_event_is_dead(failing, deliver, work, stored, clock):
    failing(RuntimeError("no"))
    deliver("test.event", event_id="evt_1")

    for _ in range(10):
        work()
        clock.advance(hours=2)

    assert (stored("evt_1").state, stored("evt_1").attempts) == ("dead", 8)


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
def test_a_handler_that_hangs_is_stopped_at_its_time_limit_and_its_writes_are_undone(
    environment, deliver, work, stored
):
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
    batches = []

    for _ in range(20):
        claims = [claim.event_id for claim in claim_due(inbox, "dies with the poison")]
        batches.append(claims)
        clock.advance(hours=1)
        if claims == ["neighbour"]:
            break
    clock.advance(hours=1)
    work()

    assert batches[0] == ["poison", "neighbour"]
    assert all(len(batch) <= 1 for batch in batches[1:])


@both_databases
def test_a_hand_back_costs_no_attempt(deliver, inbox, stored):
    deliver("payment.success", event_id="evt_1")
    claims = claim_due(inbox, "stopping")

    hand_back(inbox, claims)

    assert (stored("evt_1").attempts, stored("evt_1").claim_token) == (0, None)
    assert process_next(inbox, "next", TimeLimit()) == 1
