"""Pauses: no handler of a paused type runs, nothing is charged or lost, and everything says that it is paused."""

import json
from datetime import timedelta

import pytest
import sqlalchemy as sa

from receiver import follow_up
from receiver.actions import pause as pausing
from receiver.actions.pause import pause, resume
from receiver.database.engine import writing
from receiver.registry import RetryLater, follows_up, handles
from receiver.store.lifecycle import EVERY
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases
from receiver.worker.batch import process_next
from receiver.worker.leases import lease_due
from receiver.worker.workbench import Workbench
from tests.receiver.databases import on_postgresql

WHY = {"actor": "siti", "reason": "the bank is down"}


@pytest.fixture
def ran():
    """The events whose handlers ran, in order."""
    seen = []

    @handles("test.bank", "test.other")
    def handle(event, session):
        seen.append(event.id)

    return seen


@pytest.fixture
def noticed(clock):
    """Let workers notice what changed: they ask once a second."""
    return lambda: clock.advance(seconds=2)


def put_aside_and_back(inbox):
    while pausing.step(inbox):
        pass


@both_databases
def test_a_paused_type_is_accepted_and_waits_uncharged_until_it_is_resumed(
    inbox, deliver, work, stored, ran, noticed, session
):
    deliver("test.other", event_id="evt_before")
    work()
    pause(inbox, "test.bank", **WHY)
    noticed()
    answer = deliver("test.bank", event_id="evt_1").json["status"]
    deliver("test.other", event_id="evt_2")
    work()
    waiting, meanwhile = stored("evt_1"), list(ran)
    resume(inbox, "test.bank", actor="devi")
    noticed()
    work()

    audited = sa.select(AuditEntry.result, AuditEntry.event_type, AuditEntry.actor, AuditEntry.detail)
    assert (answer, waiting.state, waiting.attempts) == ("accepted", "pending", 0)
    assert (meanwhile, ran) == (["evt_before", "evt_2"], ["evt_before", "evt_2", "evt_1"])
    assert [tuple(row) for row in session.execute(audited.where(AuditEntry.action == "pause"))] == [
        ("paused", "test.bank", "siti", WHY["reason"]),
        ("resumed", "test.bank", "devi", None),
    ]


@both_databases
def test_a_pause_of_all_stops_every_handler_and_every_follow_up(inbox, deliver, work, ran, noticed, follow_ups):
    done = []

    @handles("test.asks")
    def ask(event, session):
        follow_up(session, event, "receipt.send")

    @follows_up("receipt.send")
    def send(event):
        done.append(event.id)

    pause(inbox, "receipt.send", **WHY)
    deliver("test.asks", event_id="evt_1")
    work()
    of_the_follow_up = follow_ups("evt_1")[0].state, list(done)
    pause(inbox, EVERY, **WHY)
    resume(inbox, "receipt.send", actor="siti")
    noticed()
    deliver("test.bank")
    work()
    of_all = list(ran), list(done)
    resume(inbox, EVERY, actor="siti")
    noticed()
    work()

    assert of_the_follow_up == ("pending", [])
    assert (of_all, len(ran), len(done)) == (([], []), 1, 1)


@both_databases
def test_what_is_put_aside_no_longer_slows_the_search_and_is_due_again_after_the_resumption(
    inbox, deliver, work, stored, ran, noticed
):
    pause(inbox, "test.bank", **WHY)
    pause(inbox, "test.none", **WHY)
    for number in range(3):
        deliver("test.bank", event_id=f"evt_{number}")
    deliver("test.other", event_id="evt_other")
    put_aside_and_back(inbox)
    aside = {stored(f"evt_{number}").due_at for number in range(3)}, stored("evt_other").due_at is not None
    resume(inbox, "test.none", actor="siti")
    put_aside_and_back(inbox)
    still_aside = {stored(f"evt_{number}").due_at for number in range(3)}

    resume(inbox, "test.bank", actor="siti")
    put_aside_and_back(inbox)
    noticed()
    work()

    assert (aside, still_aside) == (({None}, True), {None})
    assert sorted(ran) == ["evt_0", "evt_1", "evt_2", "evt_other"]


@both_databases
def test_pauses_of_all_and_of_one_type_end_one_after_the_other(inbox, deliver, work, ran, noticed):
    for event_type in ("test.bank", EVERY):
        pause(inbox, event_type, **WHY)
    deliver("test.bank", event_id="evt_bank")
    deliver("test.other", event_id="evt_other")
    put_aside_and_back(inbox)

    resume(inbox, EVERY, actor="siti")
    put_aside_and_back(inbox)
    noticed()
    work()
    of_the_others = list(ran)
    resume(inbox, "test.bank", actor="siti")
    put_aside_and_back(inbox)
    noticed()
    work()

    assert (of_the_others, ran) == (["evt_other"], ["evt_other", "evt_bank"])


@both_databases
def test_a_type_that_is_paused_again_while_it_is_made_due_again_stays_paused(inbox, deliver, work, ran, noticed):
    pause(inbox, "test.bank", **WHY)
    deliver("test.bank", event_id="evt_1")
    put_aside_and_back(inbox)
    resume(inbox, "test.bank", actor="siti")

    assert pause(inbox, "test.bank", **WHY)
    put_aside_and_back(inbox)
    noticed()
    work()
    meanwhile = list(ran)
    resume(inbox, "test.bank", actor="siti")
    put_aside_and_back(inbox)
    noticed()
    work()

    assert (meanwhile, ran) == ([], ["evt_1"])


@on_postgresql
def test_an_attempt_that_is_under_way_runs_to_its_end(inbox, deliver, work, stored):
    @handles("test.bank")
    def handle(event, session):
        pause(inbox, "test.bank", **WHY)
        pausing.step(inbox)

    deliver("test.bank", event_id="evt_1")
    work()

    assert stored("evt_1").state == "processed"


@both_databases
def test_an_event_whose_worker_died_is_not_taken_while_it_is_paused(inbox, deliver, clock, ran, stored):
    deliver("test.bank", event_id="evt_1")
    lease_due(Workbench(inbox, "a worker that dies"))
    pause(inbox, "test.bank", **WHY)
    clock.advance(minutes=5)

    taken = process_next(Workbench(inbox, "another worker"))
    resume(inbox, "test.bank", actor="siti")
    again = process_next(Workbench(inbox, "another worker"))

    assert (taken, again, ran, stored("evt_1").state) == (0, 1, ["evt_1"], "processed")


@pytest.fixture
def metrics_token(environment):
    environment["METRICS_TOKEN"] = "a-token"


@both_databases
def test_what_a_pause_holds_up_is_no_alarm_but_everything_says_that_it_is_paused(
    database, metrics_token, app, inbox, deliver, work, clock, noticed, signed_in
):
    @handles("test.bank")
    def fail(event, session):
        raise ValueError

    @handles("test.waits")
    def wait(event, session):
        raise RetryLater(60, "not open")

    runner = app.test_cli_runner()
    deliver("test.bank")
    deliver("test.waits")
    work()
    clock.advance(minutes=30)
    alarming = json.loads(runner.invoke(args=["events", "check", "--json"]).stdout)["codes"]
    paused = runner.invoke(args=["events", "pause", "test.bank", "--reason", WHY["reason"]])
    runner.invoke(args=["events", "pause", "test.waits", "--reason", "closed on Sunday"])
    noticed()
    deliver("test.bank")
    clock.advance(minutes=10)

    said = runner.invoke(args=["events", "check", "--json"])
    facts = json.loads(said.stdout)
    client = signed_in("viewer")
    pages = [client.get(path).text for path in ("/", "/events", "/pauses", "/audit")]
    metrics = app.test_client().get("/metrics", headers={"Authorization": "Bearer a-token"}).text
    assert (alarming, paused.stdout) == (["no_worker", "backlog", "failing"], "paused\n")
    assert (said.exit_code, facts["codes"], facts["oldest_due"]) == (0, [], None)
    assert [(it["event_type"], it["by"], it["reason"], it["waiting"]) for it in facts["paused"]] == [
        ("test.bank", "command line", WHY["reason"], 2),
        ("test.waits", "command line", "closed on Sunday", 1),
    ]
    assert all("the bank is down" in page and "test.waits" in page for page in pages)
    assert 'senang_paused{event_type="test.bank"} 1' in metrics


def test_the_page_pauses_and_resumes_and_wants_a_type_and_a_reason(signed_in, csrf_token, inbox, deliver, work, stored):
    client = signed_in()
    deliver("test.bank", event_id="evt_1")
    token = {"csrf_token": csrf_token(client.get("/pauses"))}

    def post(path, **form):
        return client.post(path, data=token | form, follow_redirects=True).text

    without_type = post("/pauses", reason="down", event_type=" ")
    without_reason = post("/pauses", event_type="test.bank")
    paused = post("/pauses", event_type="test.bank", reason="down")
    again = post("/pauses", event_type="test.bank", reason="down")
    event = client.get(f"/events/{stored('evt_1').id}").text
    every = post("/pauses", every="yes", event_type="", reason="all of it")
    resumed = post("/pauses/resume", event_type="test.bank")
    all_resumed = post("/pauses/resume", event_type="*")

    assert ("name an event type" in without_type, "say why" in without_reason) == (True, True)
    assert ("<code>test.bank</code>" in paused, "paused already" in again) == (True, True)
    assert "It waits: its handler is paused" in event
    assert ("all types</td>" in every, "all types</td>" in resumed) == (True, True)
    assert "test.bank</code></td>" not in resumed
    assert "Nothing is paused" in all_resumed


def test_a_type_that_people_do_not_see_is_paused_and_resumed_without_being_shown(
    signed_in, csrf_token, inbox, app, session
):
    name = "Siti Nurhaliza binti Osman"
    client = signed_in()
    token = {"csrf_token": csrf_token(client.get("/pauses"))}

    page = client.post("/pauses", data=token | {"event_type": name, "reason": "private"}, follow_redirects=True).text
    form = page.split('name="event_type" value="')[1].split('"')[0]
    check = app.test_cli_runner().invoke(args=["events", "check", "--json"]).output
    client.post("/pauses/resume", data=token | {"event_type": form})

    assert (name in page, name in check) == (False, False)
    assert "Nothing is paused" in client.get("/pauses").text


def test_the_command_resumes_what_is_paused_and_says_when_nothing_is(app):
    runner = app.test_cli_runner()

    outputs = [
        runner.invoke(args=["events", *args])
        for args in (
            ["pause", "--all", "--reason", "down"],
            ["pause", "--all", "--reason", "down"],
            ["resume", "test.bank"],
            ["resume", "--all"],
            ["resume"],
            ["pause", "test.bank"],
            ["pause", "test.bank", "--reason", ""],
        )
    ]

    assert [result.exit_code for result in outputs] == [0, 0, 1, 0, 2, 2, 2]
    assert [result.stdout for result in outputs[:2]] == ["paused\n", "paused already\n"]


@on_postgresql
def test_a_long_pause_leaves_nothing_due_that_a_search_would_pass_and_all_of_it_comes_back(inbox, deliver, session):
    deliver("test.bank", event_id="evt_1")
    copy = (
        "INSERT INTO events (seal_id, event_id, event_type, received_at, environment, state, due_at, body_digest)"
        " SELECT gen_random_uuid(), 'copy_' || n, event_type, received_at, environment, state, due_at, 'copy:' || n"
        " FROM events, generate_series(1, 3000) AS n"
    )
    with writing(inbox.engine) as writer:
        writer.execute(sa.text(copy))

    def due():
        session.rollback()
        return session.scalar(sa.select(sa.func.count(StoredEvent.due_at)).where(StoredEvent.due_at <= inbox.now()))

    pause(inbox, "test.bank", **WHY)
    put_aside_and_back(inbox)
    paused = due()
    resume(inbox, "test.bank", actor="siti")
    put_aside_and_back(inbox)

    assert (paused, due()) == (0, 3001)


def test_a_delayed_follow_up_of_a_paused_name_waits_on_when_its_time_has_come(
    inbox, deliver, work, clock, follow_ups, noticed
):
    done = []

    @handles("test.asks")
    def ask(event, session):
        follow_up(session, event, "receipt.send", delay=timedelta(hours=1))

    @follows_up("receipt.send")
    def send(event):
        done.append(event.id)

    deliver("test.asks", event_id="evt_1")
    work()
    pause(inbox, "receipt.send", **WHY)
    put_aside_and_back(inbox)
    before_its_time = follow_ups("evt_1")[0].due_at is not None
    clock.advance(hours=2)
    work()
    put_aside_and_back(inbox)
    held_up = list(done)
    resume(inbox, "receipt.send", actor="siti")
    put_aside_and_back(inbox)
    noticed()
    work()

    assert (before_its_time, held_up, len(done)) == (True, [], 1)
