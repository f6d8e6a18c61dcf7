"""A handler that says "not yet": its event comes again when it said so, and nothing of it counts or fills the disk."""

import math
from datetime import timedelta

import pytest
import sqlalchemy as sa

from receiver import advance
from receiver.registry import RetryLater, handles
from receiver.store.audit import write_finished_sums
from receiver.store.models import AuditEntry
from receiver.testing import both_databases
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs
from tests.receiver.partner.models import ProbePayment


@pytest.fixture
def put_off():
    """A handler that raises this as often as it is told, and then does its work."""

    def register(seconds, reason="", times=10_000):
        calls = []

        @handles("test.event")
        def not_yet(event, session):
            calls.append(event.id)
            if len(calls) <= times:
                advance(session, ProbePayment, f"TXN-{len(calls)}", status="paid", event=event)
                raise RetryLater(seconds, reason)

        return calls

    return register


@pytest.fixture
def attempts_of(inbox):
    """The audit rows of the attempts: result, occurrences and detail, oldest first."""

    def find():
        columns = (AuditEntry.result, AuditEntry.occurrences, AuditEntry.detail)
        with inbox.engine.connect() as connection:
            found = connection.execute(
                sa.select(*columns).where(AuditEntry.action == "attempt").order_by(AuditEntry.id)
            )
            return [tuple(row) for row in found]

    return find


@both_databases
def test_the_event_is_due_again_after_so_many_seconds_and_no_attempt_is_charged(
    put_off, deliver, work, stored, clock, attempts_of
):
    put_off(90, "the ledger is closed")
    deliver("test.event", event_id="evt_1")

    work()

    row = stored("evt_1")
    assert (row.state, row.attempts) == ("pending", 0)
    assert timedelta(seconds=80) < row.due_at - clock.now() <= timedelta(seconds=91)
    assert row.last_error == "not yet: the ledger is closed"
    assert attempts_of() == [("retry later", 1, "not yet: the ledger is closed")]


@both_databases
def test_nothing_that_the_handler_wrote_is_kept(put_off, deliver, work, session):
    put_off(90)
    deliver("test.event")

    work()

    assert session.scalars(sa.select(ProbePayment)).all() == []


@postgresql_and_sqlite_in_long_runs
def test_it_may_be_said_more_often_than_there_are_attempts(put_off, deliver, work, stored, clock, inbox):
    times = 3 * inbox.settings.max_attempts
    calls = put_off(60, times=times)
    deliver("test.event", event_id="evt_1")

    for _ in range(times + 1):
        work()
        clock.advance(seconds=61)

    assert len(calls) == times + 1
    assert (stored("evt_1").state, stored("evt_1").attempts, stored("evt_1").last_error) == ("processed", 1, None)


@both_databases
def test_the_last_attempt_may_be_put_off_too(environment, request, clock):
    environment["MAX_ATTEMPTS"] = "1"
    put_off, deliver, work, stored = map(request.getfixturevalue, ("put_off", "deliver", "work", "stored"))
    put_off(60, times=1)
    deliver("test.event", event_id="evt_1")

    work()
    waiting = stored("evt_1").state
    clock.advance(seconds=61)
    work()

    assert (waiting, stored("evt_1").state) == ("pending", "processed")


@both_databases
def test_a_neighbour_in_the_same_transaction_is_processed(put_off, deliver, work, stored):
    put_off(60)
    deliver("payment.success", event_id="evt_1")
    deliver("test.event", event_id="evt_2")
    deliver("payment.success", event_id="evt_3")

    work()

    assert [stored(f"evt_{number}").state for number in (1, 2, 3)] == ["processed", "pending", "processed"]


@both_databases
def test_what_it_said_is_masked_like_any_other_error(deliver, work, stored, attempts_of):
    @handles("test.event")
    def tells_too_much(event, session):
        raise RetryLater(60, f"no policy for {event.data['name']} yet")

    deliver("test.event", event_id="evt_1", data={"name": "Siti Nurhaliza"})
    work()

    assert stored("evt_1").last_error == "not yet: no policy for [text 14] yet"
    assert "Siti" not in str(attempts_of())


@both_databases
def test_a_handler_that_says_it_for_ever_does_not_fill_the_audit_log(put_off, deliver, work, clock, inbox, attempts_of):
    put_off(3600)
    for number in range(40):
        deliver("test.event", event_id=f"evt_{number}")

    work()
    clock.advance(minutes=1)
    write_finished_sums(inbox)

    rows = attempts_of()
    assert len(rows) < 40  # 10 a minute and a sum, and a slow machine takes more than one minute
    assert sum(occurrences for _, occurrences, _ in rows) == 40


def test_the_log_says_so_without_a_traceback(put_off, deliver, work, capsys):
    put_off(60)
    deliver("test.event", event_id="evt_1")

    work()

    lines = [line for line in capsys.readouterr().out.splitlines() if '"retry later"' in line]
    assert len(lines) == 1
    assert "Traceback" not in lines[0]


@pytest.mark.parametrize("seconds", [1, 1.5, 60, 7 * 24 * 3600])
def test_a_number_of_seconds_up_to_seven_days_is_taken(seconds):
    assert RetryLater(seconds).seconds == seconds


def test_a_reason_that_is_none_is_no_reason():
    assert str(RetryLater(60, None)) == ""


@pytest.mark.parametrize("seconds", [0, -5, 0.5, 7 * 24 * 3600 + 1, math.nan, math.inf, "60", None, True])
def test_anything_else_is_an_error_that_says_what_is_taken(seconds):
    with pytest.raises(ValueError, match="from 1 to 604800"):
        RetryLater(seconds)


@both_databases
def test_a_handler_that_asks_for_too_long_fails_like_any_other(put_off, deliver, work, stored):
    put_off(10**9)
    deliver("test.event", event_id="evt_1")

    work()

    assert (stored("evt_1").state, stored("evt_1").attempts) == ("pending", 1)
    assert stored("evt_1").last_error.startswith("ValueError at tests/receiver/test_retry_later.py:")
