"""An operator dismisses what needs no more work: for a reason, audited, and nothing alarms about it any more."""

import json

import pytest
import sqlalchemy as sa

from receiver import follow_up
from receiver.actions import bulk
from receiver.actions.bulk import Act
from receiver.actions.dismiss import CannotDismiss, Dismissed, dismiss
from receiver.actions.replay import replay
from receiver.maintenance.retention import purge
from receiver.queries.filters import Filter
from receiver.registry import PermanentFailure, follows_up, handles
from receiver.store.lifecycle import State
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases

WHY = {"actor": "siti", "reason": "a test of the sender's"}


@pytest.fixture
def broken():
    """A handler that fails for good, until the list is empty."""
    reasons = ["not yet"]

    @handles("test.event")
    def fail(event, session):
        if reasons:
            raise PermanentFailure(reasons[0])

    return reasons


@pytest.fixture
def closed(broken, deliver, sender, work, inbox):
    """A dead, an unhandled and a quarantined row, by their states, as they are now."""
    deliver("test.event", event_id="evt_dead")
    deliver("test.unknown", event_id="evt_unhandled")
    sender.deliver({"id": "no event"})
    work()
    with inbox.engine.connect() as connection:
        return dict(iter(connection.execute(sa.select(StoredEvent.state, StoredEvent.id))))


@pytest.fixture
def row_of(inbox):
    """A row by its number, as it is now."""

    def find(inbox_id):
        with inbox.engine.connect() as connection:
            return connection.execute(sa.select(StoredEvent.__table__).where(StoredEvent.id == inbox_id)).one()

    return find


def work_off(inbox):
    while bulk.step(inbox):
        pass


def acts(session, action="dismiss"):
    found = sa.select(AuditEntry.result, AuditEntry.actor, AuditEntry.detail).where(AuditEntry.action == action)
    return [tuple(row) for row in session.execute(found)]


@both_databases
def test_what_is_dead_unhandled_or_quarantined_can_be_dismissed_and_comes_back_by_a_replay(
    closed, inbox, row_of, session
):
    assert set(closed) == {"dead", "unhandled", "quarantined"}

    done = {state: dismiss(inbox, inbox_id, **WHY) for state, inbox_id in closed.items()}
    again = dismiss(inbox, closed["dead"], **WHY)
    states = {row_of(inbox_id).state for inbox_id in closed.values()}
    replay(inbox, closed["dead"], actor="siti")
    replay(inbox, closed["unhandled"], actor="siti")

    assert (set(done.values()), again, states) == ({Dismissed.DONE}, Dismissed.DISMISSED, {"dismissed"})
    assert [row_of(closed[state]).state for state in ("dead", "unhandled")] == ["pending", "pending"]
    assert acts(session) == [("dismissed", "siti", WHY["reason"])] * 3


@both_databases
def test_what_a_handler_has_run_or_is_to_run_cannot_be_dismissed(inbox, deliver, work, stored):
    deliver(event_id="evt_done")
    work()
    deliver(event_id="evt_due")

    for event_id, state in (("evt_done", "processed"), ("evt_due", "pending")):
        with pytest.raises(CannotDismiss, match=f"it is {state}"):
            dismiss(inbox, stored(event_id).id, **WHY)
        assert stored(event_id).state == state


@both_databases
def test_a_redelivery_of_a_dismissed_event_is_a_duplicate_and_revives_nothing(
    broken, inbox, payload, sender, stored, work, session
):
    sent = payload("test.event", event_id="evt_1")
    unusable = {"id": "no event"}
    sender.deliver(sent)
    sender.deliver(unusable)
    work()
    for inbox_id in session.scalars(sa.select(StoredEvent.id)).all():
        dismiss(inbox, inbox_id, **WHY)

    answers = [sender.deliver(sent).json["status"], sender.deliver(unusable).json["status"]]
    work()

    session.rollback()
    rows = session.execute(sa.select(StoredEvent.state, StoredEvent.deliveries)).all()
    assert answers == ["duplicate", "quarantined"]
    assert [tuple(row) for row in rows] == [("dismissed", 2)] * 2


@pytest.fixture
def wrong_mapping(environment):
    """The event ID is looked for in a field that no body has."""
    environment["SENANG_PAYLOAD_FIELDS"] = "event_id=identifier"


@both_databases
def test_a_dismissed_body_is_released_like_a_quarantined_one(
    database, environment, wrong_mapping, app, assemble, sender, payload, stored
):
    body = payload(event_id="evt_1")
    body["event_id"] = body.pop("identifier")
    sender.deliver(body)
    runner = app.test_cli_runner()
    runner.invoke(args=["events", "dismiss", "#1", "--reason", "a test"])
    mended = assemble(environment | {"SENANG_PAYLOAD_FIELDS": ""})

    refused = runner.invoke(args=["events", "replay", "#1"])
    released = mended.test_cli_runner().invoke(args=["events", "replay", "#1"])

    assert (refused.exit_code, "it does not parse" in refused.output) == (1, True)
    assert (released.exit_code, stored("evt_1").state) == (0, "pending")


@pytest.fixture
def metrics_token(environment):
    environment["METRICS_TOKEN"] = "a-token"


@both_databases
def test_nothing_alarms_about_what_is_dismissed(database, metrics_token, app, inbox, closed):
    check = ["events", "check", "--json"]
    before = json.loads(app.test_cli_runner().invoke(args=check).output)

    for inbox_id in closed.values():
        dismiss(inbox, inbox_id, **WHY)

    after = app.test_cli_runner().invoke(args=check)
    metrics = app.test_client().get("/metrics", headers={"Authorization": "Bearer a-token"}).text
    assert before["codes"] == ["dead", "quarantined_unusable", "new_type"]
    assert (after.exit_code, json.loads(after.output)["counts"]["dismissed"]) == (0, 3)
    assert 'senang_events{state="dismissed"} 3' in metrics
    assert 'senang_events{state="dead"} 0' in metrics


def test_retention_treats_a_dismissed_row_like_any_other(closed, inbox, row_of, clock):
    for inbox_id in closed.values():
        dismiss(inbox, inbox_id, **WHY)

    clock.advance(days=91)
    purge(inbox, actor="test")

    assert [row_of(inbox_id).sealed_payload for inbox_id in closed.values()] == [None] * 3


def test_a_dismissed_follow_up_is_not_done_and_its_handler_does_not_ask_for_it_again(
    deliver, work, inbox, follow_ups, stored
):
    says, sent = [PermanentFailure("never")], []

    @handles("test.paid")
    def paid(event, session):
        follow_up(session, event, "receipt.send")

    @follows_up("receipt.send")
    def send(event):
        if says:
            raise says.pop()
        sent.append(event.id)

    deliver("test.paid", event_id="evt_1")
    work()
    dismiss(inbox, follow_ups("evt_1")[0].id, **WHY)
    replay(inbox, stored("evt_1").id, actor="siti")
    work()
    dismissed, nothing = follow_ups("evt_1")[0].state, list(sent)
    replay(inbox, follow_ups("evt_1")[0].id, actor="siti")
    work()

    assert (dismissed, nothing, len(sent)) == ("dismissed", [], 1)


@both_databases
def test_a_confirmed_plan_dismisses_what_its_filter_finds_and_counts_what_it_leaves_alone(
    closed, inbox, deliver, work, row_of, session
):
    deliver("payment.success")
    work()
    deliver("payment.success")
    number = bulk.plan(inbox, Filter(), act=Act.DISMISS, **WHY)
    planned = bulk.look(inbox, number)

    bulk.confirm(inbox, number, actor="siti")
    work_off(inbox)

    done = bulk.look(inbox, number).job
    assert (planned.count, {row.state for row in planned.sample}) == (3, set(closed))
    assert (done.state, done.done, done.skipped_because) == ("done", 3, {"pending": 1, "processed": 1})
    assert {row_of(inbox_id).state for inbox_id in closed.values()} == {"dismissed"}
    assert [act[2] for act in acts(session)] == [f"bulk dismiss {number}: {WHY['reason']}"] * 3


@both_databases
def test_a_bulk_replay_opens_what_was_dismissed_only_if_its_filter_names_that_state(closed, inbox, row_of):
    dismiss(inbox, closed["dead"], **WHY)
    of_all = bulk.plan(inbox, Filter(event_type="test.event"), actor="siti", reason=None)
    named = bulk.plan(inbox, Filter(states=frozenset({State.DISMISSED})), actor="siti", reason=None)
    counts = [bulk.look(inbox, number).count for number in (of_all, named)]

    bulk.confirm(inbox, of_all, actor="siti")
    work_off(inbox)
    left = row_of(closed["dead"]).state
    bulk.confirm(inbox, named, actor="siti")
    work_off(inbox)

    assert (counts, left, row_of(closed["dead"]).state) == ([0, 1], "dismissed", "pending")
    assert bulk.look(inbox, of_all).job.skipped_because == {"dismissed": 1}


def test_failing_events_are_not_dismissed_in_bulk(inbox, deliver, work, stored):
    @handles("test.failing")
    def fail(event, session):
        raise ValueError

    deliver("test.failing", event_id="evt_1")
    work()

    number = bulk.plan(inbox, Filter.from_parameters({"failing": ["yes"]}), act=Act.DISMISS, **WHY)
    planned = bulk.look(inbox, number)
    bulk.confirm(inbox, number, actor="siti")
    work_off(inbox)

    assert (planned.count, stored("evt_1").state) == (0, "pending")


def test_the_page_dismisses_one_event_and_wants_a_reason(signed_in, csrf_token, closed, row_of):
    client = signed_in()
    address = f"/events/{closed['dead']}"
    form = {"csrf_token": csrf_token(client.get(address))}

    without = client.post(f"{address}/dismiss", data=form | {"reason": " "}, follow_redirects=True)
    left = row_of(closed["dead"]).state
    done = client.post(f"{address}/dismiss", data=form | {"reason": "of a test"}, follow_redirects=True)
    listed = client.get("/events?state=dismissed").text

    assert ("say why" in without.text, left) == (True, "dead")
    assert '<p class="notice" role="status">dismissed</p>' in done.text
    assert (f"{address}/dismiss" in done.text, ">Replay</button>" in done.text) == (False, True)
    assert ("evt_dead" in listed, "evt_unhandled" in listed) == (True, False)
    assert "dismissed" in client.get("/events/export.csv?state=dismissed").text
    assert "dismissed" in client.get(f"/support{address}").text


def test_an_event_that_was_replayed_since_the_page_was_seen_is_not_dismissed(
    signed_in, csrf_token, closed, inbox, work, clock, stored
):
    client = signed_in()
    page = client.get(f"/events/{closed['dead']}")
    seen = page.text.split('name="seen" value="')[1].split('"')[0]
    clock.advance(seconds=1)
    replay(inbox, closed["dead"], actor="devi")
    work()

    form = {"csrf_token": csrf_token(page), "seen": seen, "reason": "old"}
    answer = client.post(f"/events/{closed['dead']}/dismiss", data=form, follow_redirects=True)

    assert "replayed since" in answer.text
    assert stored("evt_dead").state == "dead"


def test_the_page_plans_and_confirms_a_bulk_dismissal_and_wants_a_reason(signed_in, csrf_token, closed, inbox):
    client = signed_in()
    form = {"csrf_token": csrf_token(client.get("/events")), "act": "dismiss"}

    without = client.post("/bulk?state=dead", data=form, follow_redirects=True)
    planned = client.post("/bulk?state=dead", data=form | {"reason": "old"}, follow_redirects=True)
    client.post(f"{planned.request.path}/confirm", data=form)
    work_off(inbox)

    assert ("say why" in without.text, without.request.path) == (True, "/events")
    assert "1 events would be dismissed" in planned.text
    assert "Done: 1 dismissed, 0 skipped" in client.get(planned.request.path).text


def test_the_command_dismisses_one_event_or_a_state_and_says_what_it_left(app, closed, row_of):
    runner = app.test_cli_runner()

    one = runner.invoke(args=["events", "dismiss", "evt_dead", "--reason", "old"])
    several = runner.invoke(args=["events", "dismiss", "--state", "quarantined", "--reason", "old"])
    without = runner.invoke(args=["events", "dismiss", "evt_unhandled"])
    empty = runner.invoke(args=["events", "dismiss", "evt_unhandled", "--reason", " "])
    both = runner.invoke(args=["events", "dismiss", "evt_unhandled", "--state", "dead", "--reason", "old"])

    assert (one.exit_code, one.stdout) == (0, "evt_dead: dismissed\n")
    assert (several.exit_code, several.stdout.splitlines()[-1]) == (0, "1 dismissed, 0 refused")
    assert [result.exit_code for result in (without, empty, both)] == [2, 2, 2]
    assert row_of(closed["unhandled"]).state == "unhandled"
