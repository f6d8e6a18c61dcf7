"""Somebody is told before anybody looks: once that a condition began, once that it is over, whoever has the turn."""

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from receiver.alerts.sending import BEAT_SECONDS, GAP, LEASE_SECONDS, LONGEST_PAUSE_SECONDS
from receiver.alerts.starting import Alerting
from receiver.database.engine import reading, writing
from receiver.registry import PermanentFailure, handles
from receiver.store.models import AlertChannel, AlertCondition, AlertTold, AlertTurn, AuditEntry, Heartbeat
from receiver.testing import both_databases
from receiver.testing.waiting import eventually
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs
from tests.receiver.processes import running

SECRET_WORDS = "Nurul Aisyah 900101-14-5678"
PAUSE = GAP + timedelta(seconds=1)


def mail(server):
    """The mail server's address, as apprise writes it."""
    return f"mailto://127.0.0.1:{server.server_address[1]}?from=receiver@example.my&to=ops@example.my"


def http(server):
    """The other system's address, as apprise writes it."""
    return server.url.replace("http://", "json://")


@pytest.fixture
def environment(environment, mail_server, other_system):
    return environment | {"ALERT_URLS": f"{mail(mail_server)} {http(other_system)}", "RECEIVER_NAME": "Shop"}


@pytest.fixture
def alert(app):
    """Look, and tell: what a worker does every few seconds."""

    def run(*options, exit_code=0):
        result = app.test_cli_runner().invoke(args=["senang", "alert", *options])
        assert result.exit_code == exit_code, result.output
        return result.output

    return run


@pytest.fixture
def a_dead_event(app, deliver, work):
    """An event whose handler failed for good. Its error quotes the payload."""

    @handles("test.event")
    def fails(event, session):
        raise PermanentFailure(SECRET_WORDS)

    deliver("test.event", event_id="evt_dead")
    work()


@pytest.fixture
def dismiss_it(app):
    """What makes the condition end."""
    return lambda: app.test_cli_runner().invoke(args=["events", "dismiss", "evt_dead", "--reason", "a test"])


def text_of(call):
    return f"{call.body['title']}\n{call.body['message']}"


@both_databases
def test_a_condition_is_told_once_when_it_begins_and_once_when_it_is_over(
    alert, a_dead_event, dismiss_it, mail_server, other_system, clock
):
    for _ in range(3):
        alert()
    began = (len(mail_server.messages), len(other_system.calls))
    dismiss_it()
    clock.advance(seconds=PAUSE.total_seconds())
    for _ in range(3):
        alert()

    assert began == (1, 1)
    assert len(mail_server.messages) == len(other_system.calls) == 2
    assert mail_server.messages[0]["To"] == "ops@example.my"
    assert mail_server.messages[0]["Subject"] == "Shop (sandbox): needs a person: dead"
    assert "1 event is dead" in text_of(other_system.calls[0])
    assert "docs/runbook.md#dead" in text_of(other_system.calls[0])
    assert text_of(other_system.calls[1]).startswith("Shop (sandbox): recovered: dead")


def test_a_message_has_no_word_of_a_payload_an_error_or_a_stranger(
    alert, app, deliver, work, clock, mail_server, other_system
):
    @handles("test.event")
    def fails(event, session):
        raise ConnectionError(SECRET_WORDS)

    deliver("test.event", event_id="evt_1", transaction_id="TXN-1")
    work()
    clock.advance(hours=1)
    app.test_client().post("/webhooks/senang/aisyah")
    alert()

    (call,) = other_system.calls
    told = text_of(call) + str(mail_server.messages[0])
    assert call.body["title"].startswith("Shop (sandbox): needs a person: ")
    assert {"failing", "wrong_path"} <= set(re.findall(r"runbook.md#(\w+)", told))
    for word in ("Nurul", "aisyah", "900101", "evt_1", "TXN-1", "test.event", "ConnectionError"):
        assert word not in told


def test_a_condition_that_flaps_is_no_flood(alert, app, a_dead_event, dismiss_it, work, other_system, clock):
    replay = ["events", "replay", "evt_dead"]
    alert()
    for _ in range(5):
        dismiss_it()
        alert()
        app.test_cli_runner().invoke(args=replay)
        work()
        clock.advance(seconds=20)
        alert()

    assert len(other_system.calls) == 1


def test_a_channel_that_fails_is_tried_again_later_and_the_others_are_not_told_twice(
    alert, a_dead_event, mail_server, other_system, clock, session, signed_in
):
    other_system.answers = [503, 503]
    alert()
    alert()
    failed_after_one_try = len(other_system.calls)
    (channel,) = session.scalars(sa.select(AlertChannel).where(AlertChannel.failures > 0))
    page = signed_in("viewer").get("/alerts").text
    clock.advance(seconds=31)
    alert()
    clock.advance(seconds=LONGEST_PAUSE_SECONDS)
    alert()
    clock.advance(seconds=LONGEST_PAUSE_SECONDS)
    alert()

    assert failed_after_one_try == 1
    assert channel.error == "answered 503"
    assert "answered 503" in page
    assert other_system.url not in page
    assert len(other_system.calls) == 3
    assert len(mail_server.messages) == 1


def test_a_process_that_dies_between_sending_and_noting_makes_one_more_message_and_never_none(
    database, environment, alert, a_dead_event, other_system, clock
):
    environment |= {"ALERT_URLS": http(other_system), "DATABASE_URL": database}
    other_system.seconds = 600
    with running(environment) as receiver:
        process = receiver.start("-m", "flask", "--app", "wsgi", "senang", "alert")
        eventually(lambda: other_system.calls)
        receiver.kill(process)
    other_system.seconds = 0

    alert()
    while_the_lease_holds = len(other_system.calls)
    clock.advance(seconds=LEASE_SECONDS + 1)
    alert()
    alert()

    assert while_the_lease_holds == 1
    assert len(other_system.calls) == 2


@postgresql_and_sqlite_in_long_runs
def test_processes_that_come_at_once_send_one_message(database, environment, a_dead_event, other_system, mail_server):
    other_system.seconds = 1
    with running(environment | {"DATABASE_URL": database}) as receiver:
        started = [receiver.start("-m", "flask", "--app", "wsgi", "senang", "alert") for _ in range(3)]
        ended = [process.wait() for process in started]

    assert ended == [0, 0, 0]
    assert len(other_system.calls) == len(mail_server.messages) == 1


def test_workers_tell_by_themselves_and_a_channel_that_hangs_holds_up_no_event(
    database, environment, a_dead_event, deliver, stored, session, other_system, mail_server
):
    other_system.seconds = 600
    with running(environment | {"DATABASE_URL": database}) as receiver:
        receiver.worker("--processes", "2")
        eventually(lambda: other_system.calls)
        deliver("payment.success", event_id="evt_1")
        eventually(lambda: stored("evt_1").state == "processed")

    assert len(mail_server.messages) == len(other_system.calls) == 1
    assert session.scalars(sa.select(AlertTold.code)).all() == ["dead"]  # by mail


def test_a_worker_whose_machine_slept_does_not_say_that_no_worker_lives(inbox, deliver, clock, other_system):
    def answer(statement):
        with reading(inbox.engine) as session:
            return session.scalars(statement).all()

    look = Alerting()
    with writing(inbox.engine) as session:
        session.add(Heartbeat(worker="w", started_at=clock.now(), seen_at=clock.now()))
    deliver("payment.success")
    clock.advance(minutes=4)
    look(inbox, "one that its parent has not noted")
    early = answer(sa.select(AlertTurn.looked_at))
    look(inbox, "w")

    assert early == [None]
    assert answer(sa.select(AlertTurn.looked_at)) != [None]
    assert answer(sa.select(AlertCondition.code)) == []
    assert other_system.calls == []


def test_the_heartbeat_is_asked_while_all_is_well_and_not_while_something_needs_a_person(
    environment, other_system, request
):
    environment |= {"ALERT_URLS": "", "ALERT_HEARTBEAT_URL": other_system.url}
    alert, clock = map(request.getfixturevalue, ("alert", "clock"))
    for _ in range(3):
        alert()
    at_once = len(other_system.calls)
    clock.advance(seconds=BEAT_SECONDS + 1)
    alert()
    two_minutes_later = len(other_system.calls)
    request.getfixturevalue("a_dead_event")
    clock.advance(seconds=BEAT_SECONDS + 1)
    alert()

    assert (at_once, two_minutes_later, len(other_system.calls)) == (1, 2, 2)


def test_what_an_operator_acknowledged_is_over_before_anything_more_is_said(
    environment, a_dead_event, request, signed_in, csrf_token, session
):
    alert, other_system, clock = map(request.getfixturevalue, ("alert", "other_system", "clock"))
    other_system.answers = [503]
    alert()
    browser = signed_in()
    page = browser.get("/alerts")
    answer = browser.post("/alerts/dead/acknowledge", data={"csrf_token": csrf_token(page)})
    clock.advance(seconds=PAUSE.total_seconds())
    alert()

    assert answer.status_code == 302
    assert "acknowledged by siti" in browser.get("/alerts").text
    assert len(other_system.calls) == 1  # the one that failed
    assert ("alert", "acknowledged", "siti", "dead") in audited(session)


def test_what_an_operator_snoozed_is_told_afterwards(
    a_dead_event, dismiss_it, alert, other_system, clock, signed_in, csrf_token, session
):
    alert()
    browser = signed_in()
    form = {"csrf_token": csrf_token(browser.get("/alerts")), "hours": "8"}
    browser.post("/alerts/dead/snooze", data=form)
    dismiss_it()
    clock.advance(hours=7)
    alert()
    snoozed = len(other_system.calls)
    clock.advance(hours=2)
    alert()

    assert snoozed == 1
    titles = [call.body["title"] for call in other_system.calls]
    assert "recovered: dead" in titles[-1]
    assert ("alert", "snoozed", "siti", "dead, for 8 hours") in audited(session)


def audited(session):
    columns = (AuditEntry.action, AuditEntry.result, AuditEntry.actor, AuditEntry.detail)
    return [tuple(row) for row in session.execute(sa.select(*columns))]


def test_a_viewer_sees_the_alerts_and_may_not_acknowledge(a_dead_event, alert, signed_in, csrf_token):
    alert()
    browser = signed_in("viewer")
    page = browser.get("/alerts")
    answer = browser.post("/alerts/dead/acknowledge", data={"csrf_token": csrf_token(page)})

    assert "1 event is dead" in page.text
    assert "Acknowledge" not in page.text
    assert answer.status_code == 403


def test_the_test_message_says_what_each_channel_answered(alert, mail_server, other_system):
    other_system.answers = [401]

    said = alert("--test", exit_code=1)

    assert "1 (mailto): sent" in said
    assert "2 (json): answered 401" in said
    assert mail_server.messages[0]["Subject"] == "Shop (sandbox): test"


@pytest.mark.parametrize("setting", [{"FOLLOW_UPS": "0"}, {"ALERT_URLS": ""}])
def test_a_copy_that_sends_nothing_sends_no_alert_either(setting, environment, request, other_system, mail_server):
    environment |= setting
    request.getfixturevalue("a_dead_event")

    request.getfixturevalue("alert")(exit_code=1)

    assert other_system.calls == mail_server.messages == []
