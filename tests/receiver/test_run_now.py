"""Run now: an event that waits is due at once, because a person says so."""

from datetime import timedelta

import pytest

from receiver import follow_up
from receiver.registry import RetryLater, follows_up, handles
from receiver.testing import both_databases


@pytest.fixture
def run_now(signed_in, csrf_token):
    """Press the button on the page of a row, if it is there."""
    client = signed_in()

    def press(inbox_id):
        page = client.get(f"/events/{inbox_id}")
        if ">Run now</button>" in page.text:
            client.post(f"/events/{inbox_id}/replay", data={"csrf_token": csrf_token(page)})
        return ">Run now</button>" in page.text

    return press


@both_databases
def test_a_delayed_follow_up_is_done_at_once(deliver, work, follow_ups, run_now):
    sent = []

    @handles("test.paid")
    def paid(event, session):
        follow_up(session, event, "receipt.send", delay=timedelta(days=30))

    @follows_up("receipt.send")
    def send(event):
        sent.append(event.id)

    deliver("test.paid", event_id="evt_1")
    work()
    waited, [asked] = list(sent), follow_ups("evt_1")

    assert run_now(asked.id)
    work()

    assert (waited, sent, follow_ups("evt_1")[0].state) == ([], [asked.event_id], "processed")


@both_databases
@pytest.mark.parametrize("error", [ValueError("down"), RetryLater(3600, "not today")])
def test_a_failing_event_and_one_that_is_put_off_run_at_once(deliver, work, stored, run_now, error):
    says = [error]

    @handles("test.event")
    def handle(event, session):
        if says:
            raise says.pop()

    deliver("test.event", event_id="evt_1")
    work()

    assert run_now(stored("evt_1").id)
    work()

    assert stored("evt_1").state == "processed"


def test_an_event_that_is_due_anyway_has_no_such_button(deliver, stored, run_now):
    deliver(event_id="evt_1")

    assert not run_now(stored("evt_1").id)
