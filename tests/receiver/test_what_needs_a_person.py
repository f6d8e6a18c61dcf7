"""What needs a person is told alike by Overview, `events check` and /metrics, and before it is too late."""

import csv
import html
import io
import json
import re

import pytest
import sqlalchemy as sa

from bench.fill import fill
from receiver.actions import bulk
from receiver.actions.replay import replay
from receiver.maintenance.rollup import INTERVAL, roll_up_if_due
from receiver.queries.conditions import CODES
from receiver.queries.filters import Filter
from receiver.registry import PermanentFailure, RetryLater, handles
from receiver.sandbox.sender import Sender
from receiver.store.lifecycle import State
from receiver.store.models import StoredEvent, WebhookSecret
from receiver.testing import both_databases
from receiver.testing.waiting import eventually
from receiver.web.answers import QUESTIONS
from receiver.worker.leases import hand_back, lease_due
from receiver.worker.workbench import Workbench
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs

TWO_SECRETS = "whsec_bmV3ZXN0IHNlY3JldCBvZiBhbGwgb2YgdGhlbSE=,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""During a rotation: the new one, then the old one."""
ERROR = "ConnectionError at tests/receiver/test_what_needs_a_person.py"
"""How the error of a handler of this file begins; its line follows."""


@pytest.fixture
def check(app):
    """`events check`: its exit code, and what it says to a program."""

    def run(*options):
        result = app.test_cli_runner().invoke(args=["events", "check", "--json", *options])
        lines = [line for line in result.output.splitlines() if line.startswith('{"ok"')]
        return result.exit_code, json.loads(lines[0])

    return run


@pytest.fixture
def overview(signed_in):
    """The text of Overview."""
    client = signed_in()
    return lambda: html.unescape(client.get("/").text)


@pytest.fixture
def failing():
    """A handler that fails for ever."""

    @handles("test.event")
    def fails(event, session):
        raise ConnectionError("the bank is down")


@pytest.fixture
def kill_the_worker(inbox, clock):
    """Let a worker lease what is due, and never be heard of again."""

    def kill():
        leases = lease_due(Workbench(inbox, "a worker that dies"))
        clock.advance(minutes=5)
        return leases

    return kill


def in_trouble(code, request):
    """Bring a condition about, through the front door."""
    use = request.getfixturevalue
    deliver, sender, payload, work, clock, inbox = map(use, ("deliver", "sender", "payload", "work", "clock", "inbox"))
    stranger = use("app").test_client()
    if code in ("failing", "waiting", "dead"):
        error = {"failing": ValueError("no"), "waiting": RetryLater(3600), "dead": PermanentFailure("never")}[code]

        @handles("test.event")
        def troubled(event, session):
            raise error

        deliver("test.event")
        work()
        clock.advance(hours=25 if code == "waiting" else 1)
        deliver("payment.success")
        work()
    elif code in ("no_worker", "backlog"):
        deliver()
        clock.advance(minutes=6)
    elif code == "silence":
        deliver()
        work()
        clock.advance(hours=25)
    elif code == "refused_in_a_row":
        for _ in range(5):
            stranger.post("/webhooks/senang", data=b"{}")
        clock.advance(seconds=INTERVAL.total_seconds())
        roll_up_if_due(inbox)
    elif code == "rejected":
        for _minute in range(3):
            for _ in range(10):
                stranger.post("/webhooks/senang", data=b"{}")
            clock.advance(minutes=1)
    elif code == "refused_unread":
        for _minute in range(3):
            for _ in range(10):
                stranger.post("/webhooks/senang", data=b"x" * 3000)
            clock.advance(minutes=1)
    elif code == "new_type":
        deliver("test.never_seen")
        work()
    elif code == "long_pause":
        use("app").test_cli_runner().invoke(args=["events", "pause", "payment.success", "--reason", "the bank is down"])
        clock.advance(hours=25)
    elif code in ("new_secret_unused", "old_secret_unused"):
        signs = {"new_secret_unused": use("old_sender"), "old_secret_unused": sender}[code]
        for days in (0, 8, 1):
            clock.advance(days=days)
            assert signs.deliver(payload()).status == 200
            eventually(lambda: use("intake").storing.is_idle)
        work()
    elif code == "wrong_path":
        stranger.post("/webhooks/senang/")
    elif code in ("all_quarantined", "quarantined_unusable"):
        for number in range(5):
            sender.deliver({"number": number})
    elif code == "quarantined_id_reused":
        sent = payload(event_id="evt_1")
        sender.deliver(sent)
        sender.deliver(sent | {"transaction_id": "TXN-another"})
    elif code == "quarantined_stale":
        body = json.dumps(payload()).encode()
        signed = sender.signed(body)
        clock.advance(minutes=6)
        stranger.post("/webhooks/senang", data=body, headers=dict(signed.headers))
    elif code == "not_ready":
        deliver()
        object.__setattr__(inbox.settings, "environment", "live")


@pytest.fixture
def old_sender(sender, inbox):
    """A sender that has not heard of the new secret."""
    settings = inbox.settings
    return Sender("/webhooks/senang", settings.scheme, settings.signature_keys[1], inbox.clock, sender.post)


@pytest.mark.parametrize("code", sorted(set(CODES) - {"masking", "connections", "disk_short"}))
def test_overview_and_check_and_metrics_tell_the_same(code, environment, request):
    environment |= {"METRICS_TOKEN": "a-token", "MAX_BODY_BYTES": "2048"}
    if "secret" in code:
        environment["SENANG_WEBHOOK_SECRETS"] = TWO_SECRETS
    client = request.getfixturevalue("app").test_client()
    check = request.getfixturevalue("check")
    before = check()
    in_trouble(code, request)

    exit_code, said = check()

    shown = request.getfixturevalue("overview")()  # a session does not last as long as some of these
    metrics = client.get("/metrics", headers={"Authorization": "Bearer a-token"}).text
    assert before[0] == 0
    assert exit_code == 1
    assert code in said["codes"]
    assert said["alarms"][said["codes"].index(code)] in shown
    assert "All is well" not in shown
    told = dict(re.findall(r'^senang_needs_a_person\{condition="(\w+)"\} ([01])\.0$', metrics, re.M))
    assert list(told) == list(CODES)
    assert [name for name, value in told.items() if value == "1"] == said["codes"]


def test_all_is_well_when_all_is_well(check, overview, deliver, work):
    deliver()
    work()

    exit_code, said = check()

    assert (exit_code, said["ok"], said["alarms"]) == (0, True, [])
    assert "All is well" in overview()


def test_a_burst_of_401s_names_its_most_frequent_reason_and_what_to_do(app, check, clock, sender):
    stranger, signed = app.test_client(), sender.signed(b"{}")
    for _minute in range(3):
        for number in range(10):
            stranger.post("/webhooks/senang", data=b"[]", headers=dict(signed.headers) if number else {})
        clock.advance(minutes=1)

    said = check()[1]

    assert said["codes"] == ["rejected"]
    assert "30 deliveries were answered 401 within ten minutes, most often for wrong_signature." in said["alarms"][0]
    assert "SENANG_WEBHOOK_SECRETS" in said["alarms"][0]


def test_what_was_refused_unread_is_no_burst_of_401s(environment, request):
    environment["MAX_BODY_BYTES"] = "1024"
    client, check = request.getfixturevalue("app").test_client(), request.getfixturevalue("check")
    for _ in range(10):
        client.post("/webhooks/senang", data=b"x" * 3000)

    said = check("--max-rejected", "9")[1]

    assert said["codes"] == ["refused_unread"]
    assert said["refused_unread"] == {"too_large": 10}


@postgresql_and_sqlite_in_long_runs
def test_a_new_type_is_told_until_its_events_are_handled_or_dismissed_or_it_is_old(
    app, check, deliver, work, clock, stored
):
    deliver("test.never_seen", event_id="evt_1")
    deliver("test.never_seen", event_id="evt_2")
    work()
    waiting = check()[1]
    app.test_cli_runner().invoke(args=["events", "dismiss", "evt_1", "--reason", "a test"])
    one_left = check()[1]

    @handles("test.never_seen")
    def takes(event, session):
        """A handler, at last."""

    app.test_cli_runner().invoke(args=["events", "replay", "--state", "unhandled", "--type", "test.never_seen"])
    work()

    assert waiting["codes"] == ["new_type"]
    assert "2 events wait as unhandled" in waiting["alarms"][0]
    assert waiting["alarms"][0].endswith("New: test.never_seen")
    assert one_left["new_types"]["events"] == 1
    assert stored("evt_2").state == "processed"
    assert check()[1]["codes"] == []


def test_a_type_that_nobody_handles_is_no_news_after_a_week(check, deliver, work, clock):
    deliver("test.never_seen")
    work()
    clock.advance(days=8)
    deliver("test.never_seen")
    work()

    assert "new_type" not in check()[1]["codes"]


def test_a_disk_is_short_with_less_than_a_part_and_less_than_a_number_of_gigabytes(check, overview):
    assert check("--min-free-percent", "100", "--min-free-gb", "1000000")[1]["codes"] == ["disk_short"]
    assert check("--min-free-percent", "100", "--min-free-gb", "0")[0] == 0
    assert check("--min-free-percent", "0", "--min-free-gb", "1000000")[0] == 0


@both_databases
def test_the_room_of_the_database_is_told_as_far_as_we_can_know_it(check, database):
    disk = check()[1]["disk"]

    assert disk["database"] > 100_000
    assert (disk["free"] is None) == database.startswith("postgresql")


def test_a_pause_is_told_when_it_lasts_longer_than_a_day_or_than_one_says(app, check, clock):
    app.test_cli_runner().invoke(args=["events", "pause", "payment.success", "--reason", "the bank is down"])
    clock.advance(hours=3)

    assert check()[0] == 0
    assert check("--max-paused-hours", "2")[1]["codes"] == ["long_pause"]


@pytest.fixture
def rotating(environment):
    """Two secrets are set."""
    environment["SENANG_WEBHOOK_SECRETS"] = TWO_SECRETS


def test_overview_says_when_each_of_several_secrets_was_used(rotating, sender, payload, intake, overview, work):
    sender.deliver(payload())
    eventually(lambda: intake.storing.is_idle)
    work()

    assert re.search(r"Secret 1, the newest: last used <time", overview())
    assert re.search(r"Secret 2: not used since it was set, <time", overview())


@postgresql_and_sqlite_in_long_runs
def test_a_rotation_that_goes_well_is_told_only_when_the_old_secret_can_go(
    rotating, sender, old_sender, payload, intake, check, clock, work
):
    def codes_after(days, knocking):
        clock.advance(days=days)
        assert knocking.deliver(payload()).status == 200
        eventually(lambda: intake.storing.is_idle)
        work()
        return check()[1]["codes"]

    assert codes_after(0, old_sender) == []
    assert codes_after(2, sender) == []
    assert codes_after(4, sender) == []
    assert codes_after(2, sender) == ["old_secret_unused"]
    assert check("--secret-days", "30")[0] == 0


def test_one_secret_alone_is_not_watched(sender, payload, intake, check, inbox):
    sender.deliver(payload())
    eventually(lambda: intake.storing.is_idle)

    with inbox.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(WebhookSecret)) == 0


@both_databases
def test_a_mapping_that_quarantines_everything_is_told_with_what_to_do(check, sender):
    for number in range(50):
        sender.deliver({"meta": {"id": number}})

    exit_code, said = check("--max-quarantined", "1000")

    assert exit_code == 1
    assert said["codes"] == ["all_quarantined"]
    assert "SENANG_PAYLOAD_FIELDS" in said["alarms"][0]


@both_databases
def test_quarantined_deliveries_are_allowed_up_to_a_number_and_within_a_time(check, sender, deliver, clock):
    deliver()
    for number in range(3):
        sender.deliver({"number": number})

    enough, too_few = check("--max-quarantined", "3"), check("--max-quarantined", "2")
    clock.advance(hours=71)
    deliver()
    within, of_today = check("--max-due-seconds", "999999"), check("--quarantined-hours", "24")

    assert "quarantined_unusable" not in enough[1]["codes"]
    assert "quarantined_unusable" in too_few[1]["codes"]
    assert "quarantined_unusable" in within[1]["codes"]
    assert "quarantined_unusable" not in of_today[1]["codes"]


@pytest.mark.soak
@both_databases
@pytest.mark.parametrize("state", ["dead", "quarantined"])
def test_a_limit_beyond_ten_thousand_is_counted_up_to(check, inbox, state):
    fill(inbox.engine, 10_800)
    with inbox.engine.begin() as connection:
        all_of_it = sa.update(StoredEvent).values(state=state, quarantine_reason="unusable", received_at=inbox.now())
        connection.execute(all_of_it)

    exceeded, kept = check(f"--max-{state}", "10500")[1], check(f"--max-{state}", "10900")[1]

    assert any(state in code and code != "all_quarantined" for code in exceeded["codes"])
    assert not any(state in code and code != "all_quarantined" for code in kept["codes"])
    assert "10,500+" in str(exceeded["alarms"])


def test_metrics_say_where_a_count_ends_before_its_end(environment, request):
    environment["METRICS_TOKEN"] = "a-token"
    client, inbox = request.getfixturevalue("app").test_client(), request.getfixturevalue("inbox")
    fill(inbox.engine, 10_800)
    with inbox.engine.begin() as connection:
        connection.execute(sa.update(StoredEvent).where(StoredEvent.id <= 10_300).values(state="dead"))
        connection.execute(sa.update(StoredEvent).where(StoredEvent.id > 10_300).values(state="processed"))

    shown = client.get("/metrics", headers={"Authorization": "Bearer a-token"}).text.splitlines()

    assert 'senang_events{state="dead"} 10300.0' in shown
    assert 'senang_events_capped{state="dead"} 0.0' in shown


def test_silence_counts_from_the_first_delivery_unless_it_is_asked_for(check):
    assert check()[0] == 0
    assert check("--max-silence-hours", "6")[1]["codes"] == ["silence"]
    assert check("--max-silence-hours", "0")[0] == 0


def test_check_speaks_to_people_in_sentences(app, sender):
    sender.deliver({"no": "event"})

    result = app.test_cli_runner().invoke(args=["events", "check"])

    assert result.exit_code == 1
    assert "quarantined_unusable: 1 delivery within 72 hours could not be read" in result.output


@both_databases
def test_a_failing_event_is_shown_with_its_error_before_it_dies(
    environment, request, failing, signed_in, deliver, work, overview, check
):
    deliver("test.event", event_id="evt_1")
    deliver("payment.success", event_id="evt_2")
    work()

    client = signed_in()
    addresses = ("/events", "/events?failing=yes", "/events?failing=yes&q=evt_1")
    found = [client.get(address).text for address in addresses]

    assert all('<span class="flag">failing</span>' in page for page in found)
    assert all(ERROR in re.sub("<[^>]*>", "", page) and "bank" not in page for page in found)
    assert ["evt_2" in page for page in found] == [True, False, False]
    assert '<strong><a href="/events?failing=yes">1</a></strong> failing' in overview()
    assert check()[1]["failing"]["error"].startswith(ERROR)
    assert check()[0] == 0


def test_a_failing_event_is_in_the_exports_with_its_error(failing, signed_in, deliver, work):
    deliver("test.event", event_id="evt_1")
    deliver("payment.success", event_id="evt_2")
    work()
    client = signed_in()

    as_json = json.loads(client.get("/events/export.json").text)
    as_csv = list(csv.DictReader(io.StringIO(client.get("/events/export.csv?failing=yes").text)))

    assert {row["event_id"]: (row["last_error"] or "").partition(":")[0] for row in as_json} == {
        "evt_1": ERROR,
        "evt_2": "",
    }
    assert [(row["event_id"], row["last_error"].partition(":")[0]) for row in as_csv] == [("evt_1", ERROR)]
    assert as_csv[0]["failing_since"]


def test_the_command_line_lists_and_shows_what_is_failing(failing, app, deliver, work):
    deliver("test.event", event_id="evt_1")
    deliver("payment.success", event_id="evt_2")
    work()
    run = lambda *arguments: app.test_cli_runner().invoke(args=["events", *arguments]).output.splitlines()  # noqa: E731

    listed = [line for line in run("list") if not line.startswith("{")]
    alone = [line for line in run("list", "--failing") if not line.startswith("{")]
    as_json = json.loads(run("list", "--json", "--failing")[-1])

    assert len(listed) == 2
    assert len(alone) == 1
    assert f"evt_1  failing: {ERROR}" in alone[0]
    assert as_json[0]["last_error"].startswith(ERROR)
    assert any(line.startswith(f"last_error: {ERROR}") for line in run("show", "evt_1"))


def test_metrics_count_what_is_failing_and_what_is_put_off(environment, request):
    environment["METRICS_TOKEN"] = "a-token"
    client, deliver, work = map(request.getfixturevalue, ("app", "deliver", "work"))
    request.getfixturevalue("failing")

    @handles("test.waits")
    def waits(event, session):
        raise RetryLater(60)

    for event_type in ("test.event", "test.event", "test.waits"):
        deliver(event_type)
    work()

    shown = client.test_client().get("/metrics", headers={"Authorization": "Bearer a-token"}).text.splitlines()

    assert {"senang_failing_events 2.0", "senang_waiting_events 1.0", "senang_oldest_due_seconds 0.0"} <= set(shown)


@both_databases
def test_many_events_that_fail_at_once_are_told_before_the_time_is_over(failing, check, deliver, work):
    for _ in range(4):
        deliver("test.event")
    work()

    assert check("--max-failing", "4")[0] == 0
    assert check("--max-failing", "3")[1]["codes"] == ["failing"]


@both_databases
def test_an_event_that_is_put_off_for_ever_is_shown_since_when(check, deliver, work, clock, stored, signed_in):
    @handles("test.event")
    def waits(event, session):
        raise RetryLater(6 * 3600, "the ledger is closed")

    deliver("test.event", event_id="evt_1")
    work()
    began = stored("evt_1").failing_since
    for _ in range(5):
        clock.advance(hours=6, seconds=1)
        work()

    said = check("--max-silence-hours", "0")[1]
    page = signed_in().get(f"/events/{stored('evt_1').id}").text

    assert said["codes"] == ["waiting"]
    assert f"{began:%Y-%m-%d %H:%M:%S}Z" in said["alarms"][0]
    assert "not yet: the ledger is closed" in said["alarms"][0]
    assert stored("evt_1").failing_since == began
    assert "Failing since" in page


@both_databases
def test_an_event_that_took_its_worker_with_it_is_failing_from_then_on(deliver, kill_the_worker, inbox, check):
    deliver("payment.success", event_id="evt_1")
    kill_the_worker()
    kill_the_worker()

    failing = check()[1]["failing"]

    assert failing["count"] == 1
    assert "the worker did not end its last attempt" in failing["error"]


@both_databases
def test_a_hand_back_keeps_the_error_and_a_replay_clears_it(failing, deliver, work, inbox, clock, stored):
    deliver("test.event", event_id="evt_1")
    work()
    clock.advance(minutes=1)
    hand_back(inbox, lease_due(Workbench(inbox, "stopping")))
    kept = stored("evt_1")
    with inbox.engine.begin() as connection:
        connection.execute(sa.update(StoredEvent).values(state="dead"))
    replay(inbox, kept.id, actor="test")
    replayed = stored("evt_1")

    assert (kept.last_error.partition(":")[0], kept.failing_since is None) == (ERROR, False)
    assert (replayed.last_error, replayed.failing_since) == (None, None)


@both_databases
@pytest.mark.parametrize("way", ["the page", "the command", "the command for all"])
def test_what_is_failing_is_tried_at_once_when_a_person_says_so(way, app, signed_in, deliver, work, stored, csrf_token):
    down = [True]

    @handles("test.event")
    def needs_the_bank(event, session):
        if down:
            raise ConnectionError("the bank is down")

    deliver("test.event", event_id="evt_1")
    work()
    down.clear()
    if way == "the page":
        client, address = signed_in(), f"/events/{stored('evt_1').id}"
        client.post(f"{address}/replay", data={"csrf_token": csrf_token(client.get(address))})
    else:
        app.test_cli_runner().invoke(args=["events", "replay", "evt_1" if way == "the command" else "--failing"])
    work()

    assert stored("evt_1").state == "processed"


@both_databases
def test_a_bulk_replay_of_what_is_failing_tries_it_at_once_and_nothing_else(failing, deliver, work, inbox, stored):
    deliver("test.event", event_id="evt_1")
    deliver("payment.success", event_id="evt_2")
    work()
    deliver("payment.success", event_id="evt_3")

    number = bulk.plan(inbox, Filter.from_parameters({"failing": ["yes"]}), actor="siti", reason=None)
    planned = bulk.look(inbox, number)
    bulk.confirm(inbox, number, actor="siti")
    while bulk.step(inbox):
        pass

    done = bulk.look(inbox, number).job
    assert (planned.count, [row.event_id for row in planned.sample]) == (1, ["evt_1"])
    assert (done.done, done.skipped) == (1, 0)
    assert (stored("evt_1").attempts, stored("evt_1").last_error) == (0, None)


def test_a_plan_counts_the_states_that_its_filter_names(inbox):
    fill(inbox.engine, 900)
    chosen = Filter(states=frozenset({State.DEAD}))

    number = bulk.plan(inbox, chosen, actor="siti", reason=None)

    assert bulk.look(inbox, number).count == 9


@both_databases
def test_an_event_that_is_running_is_not_run_again_by_a_replay(failing, deliver, work, inbox, stored, clock):
    deliver("test.event", event_id="evt_1")
    work()
    clock.advance(minutes=1)
    lease_due(Workbench(inbox, "a worker that runs it"))

    assert replay(inbox, stored("evt_1").id, actor="test") == "pending already"


@both_databases
def test_an_event_that_a_redelivery_revives_is_not_failing_before_it_is_tried(sender, payload, work, check):
    @handles("test.event")
    def dies(event, session):
        raise PermanentFailure("never")

    sent = payload("test.event")
    sender.deliver(sent)
    work()
    sender.deliver(sent)

    assert check()[1]["failing"]["count"] == 0


@both_databases
def test_an_event_that_succeeds_is_no_longer_failing(deliver, work, clock, stored, check):
    calls = []

    @handles("test.event")
    def fails_once(event, session):
        calls.append(event.id)
        if len(calls) == 1:
            raise ConnectionError

    deliver("test.event", event_id="evt_1")
    work()
    before = check()[1]["failing"]["count"]
    clock.advance(minutes=1)
    work()

    assert (before, check()[1]["failing"]["count"]) == (1, 0)
    assert stored("evt_1").failing_since is None


def told(page):
    """The answers of Overview to its questions, and the number of things that need a person."""
    words = " ".join(re.sub("<[^>]*>", " ", page.partition('class="answers"')[2].partition("</ol>")[0]).split())
    asked = r"coming\? (\S+ ?\S*?\.) .*accepted\? (\S+ ?\S*?\.) .*processed\? (\S+ ?\S*?\.) .*person\? (\w+)"
    found = re.search(asked, words)
    assert found, words
    return list(found.groups())


def test_overview_answers_four_questions_in_a_line_each(overview, signed_in, deliver, work, sender, clock):
    quiet = told(overview())
    deliver("payment.success")
    work()
    well = told(overview())
    deliver("policy.issued", policy_id=None)
    work()
    sender.deliver(b"[]")
    badly = told(overview())
    clock.advance(days=2)

    assert quiet == ["Not yet."] * 3 + ["Nothing"]
    assert well == ["Yes."] * 3 + ["Nothing"]
    assert badly == ["Yes.", "Not all.", "Not all.", "2"]
    assert told(signed_in().get("/").text)[0] == "No."  # the session before it has ended


def test_each_condition_that_a_question_names_exists():
    assert set().union(*(codes for _, _, codes in QUESTIONS.values())) <= set(CODES)


def test_one_failure_among_many_deliveries_is_drawn_as_clearly_as_they_are(overview, inbox, deliver, work):
    for _ in range(20):
        deliver()
    deliver("policy.issued", policy_id=None)
    work()
    while roll_up_if_due(inbox):
        inbox.clock.advance(seconds=INTERVAL.total_seconds())

    page = overview()

    [height] = re.findall(r'class="dead"[^>]* height="([0-9.]+)"', page.partition('id="panel-2"')[2])[1:2]
    assert float(height) > 40
    assert "failed attempts" in page
