"""Failures by cause: what one bug has stopped is one row. A group is looked at, replayed and dismissed as a whole."""

import csv
import io
import json
import re
from html import unescape

import pytest
import sqlalchemy as sa

from receiver.actions import bulk
from receiver.actions.bulk import Act
from receiver.actions.dismiss import dismiss
from receiver.database.engine import reading, writing
from receiver.privacy.errors import what_and_where
from receiver.queries.failures import failures
from receiver.queries.filters import BadFilter, Filter
from receiver.queries.search import count_failing, counts, page, stream
from receiver.registry import PermanentFailure, RetryLater, handles, shows_message
from receiver.store.lifecycle import State
from receiver.store.models import Heartbeat, StoredEvent
from receiver.testing import both_databases
from receiver.worker.leases import lease_due
from receiver.worker.workbench import Workbench


@shows_message
class Refused(Exception):
    """Its message names the event, as messages do."""


@pytest.fixture
def bugs():
    """What the handlers raise: nothing when the dictionary is empty."""
    raised = {"test.fails": ValueError, "test.dead": PermanentFailure, "test.waits": lambda _: RetryLater(60, "no")}

    @handles("test.fails", "test.dead", "test.waits", "test.refused")
    def handle(event, session):
        if event.type == "test.refused" and raised:
            raise Refused(f"the bank refuses {event.id}, try no. {len(event.id)}")
        if event.type in raised:
            raise raised[event.type]("broken")

    return raised


@pytest.fixture
def trouble(bugs, deliver, sender, work):
    """Twelve failing, three dead, two refused, one that waits, and three quarantined by the same mapping."""
    for number in range(12):
        deliver("test.fails", event_id=f"evt_fails_{number}")
    for number in range(3):
        deliver("test.dead", event_id=f"evt_dead_{number}")
        sender.deliver({"number": number})
    for event_id in ("evt_refused_1", "evt_refused_2204"):
        deliver("test.refused", event_id=event_id)
    deliver("test.waits", event_id="evt_waits")
    work()


@pytest.fixture
def groups(inbox):
    """The groups now, by what their sample says."""

    def find(since=None):
        with reading(inbox.engine) as session:
            found = failures(session, since).groups
        return {(group.sample.event_type, group.sample.last_error.split()[0].rstrip(":")): group for group in found}

    return find


def work_off(inbox):
    while bulk.step(inbox):
        pass


@both_databases
@pytest.mark.usefixtures("trouble")
def test_what_one_bug_has_stopped_is_one_group_and_the_largest_is_first(groups):
    found = groups()

    assert {name: group.count for name, group in found.items()} == {
        ("test.fails", "ValueError"): 12,
        ("test.dead", "PermanentFailure"): 3,
        (None, "unusable"): 3,
        ("test.refused", "Refused"): 2,
    }
    assert [group.count for group in found.values()] == [12, 3, 3, 2]
    assert found["test.fails", "ValueError"].by_state == {State.PENDING: 12}
    assert found["test.dead", "PermanentFailure"].by_state == {State.DEAD: 3}
    assert found[None, "unusable"].by_state == {State.QUARANTINED: 3}


@both_databases
@pytest.mark.usefixtures("trouble")
def test_a_failure_that_comes_again_keeps_its_first_moment_and_a_success_ends_it(groups, bugs, clock, work, stored):
    before = stored("evt_fails_0").cause_since
    clock.advance(minutes=1)
    work()
    again = stored("evt_fails_0")
    bugs["test.fails"] = TypeError
    clock.advance(hours=1)
    work()
    other = stored("evt_fails_0")
    bugs.clear()
    clock.advance(hours=6)
    work()
    done = stored("evt_fails_0")

    assert (again.attempts, again.cause_since) == (2, before)
    assert (other.cause != again.cause, other.cause_since > before) == (True, True)
    assert (done.state, done.cause, done.cause_since) == ("processed", None, None)
    assert ("test.fails", "ValueError") not in groups()


@both_databases
def test_a_cause_is_new_if_it_was_not_seen_before_the_moment(groups, bugs, deliver, work, clock):
    deliver("test.fails")
    work()
    clock.advance(hours=2)
    deployed = clock.now()
    clock.advance(seconds=1)
    deliver("test.fails")
    deliver("test.dead")
    work()

    found = groups(deployed)

    assert {name[0]: group.is_new for name, group in found.items()} == {"test.fails": False, "test.dead": True}
    assert next(iter(found))[0] == "test.dead"


@both_databases
@pytest.mark.usefixtures("trouble")
def test_every_question_of_a_filter_can_name_a_cause(groups, inbox):
    dead, fails = groups()["test.dead", "PermanentFailure"], groups()["test.fails", "ValueError"]
    of_dead = Filter.from_parameters({"cause": [dead.cause]})
    of_fails = Filter(cause=fails.cause)

    with reading(inbox.engine) as session:
        found = {row.event_id for row in page(session, of_dead).rows}
        few = page(session, of_fails, limit=5)
        older = page(session, of_fails, limit=50, before=few.older)
        numbers = {state: count.number for state, count in counts(session, of_fails).items() if count.number}
        failing = count_failing(session, Filter(cause=fails.cause, failing=True)).number
        mixed = {
            name: len(page(session, wanted).rows)
            for name, wanted in {
                "its type": Filter(cause=dead.cause, event_type="test.dead"),
                "another type": Filter(cause=dead.cause, event_type="test.fails"),
                "a state": Filter(cause=dead.cause, states=frozenset({State.DEAD})),
                "another state": Filter(cause=dead.cause, states=frozenset({State.QUARANTINED})),
                "a term": Filter(cause=dead.cause, term="evt_"),
                "a term of another": Filter(cause=dead.cause, term="evt_fails"),
                "failing": Filter(cause=fails.cause, failing=True, states=frozenset({State.PENDING})),
                "none": Filter(cause="0" * 12),
            }.items()
        }

    assert found == {f"evt_dead_{number}" for number in range(3)}
    assert (len(few.rows), len(older.rows), numbers, failing) == (5, 7, {State.PENDING: 12}, 12)
    assert len(list(stream(inbox.engine, of_fails))) == 12
    assert mixed == {
        "its type": 3, "another type": 0, "a state": 3, "another state": 0, "a term": 3, "a term of another": 0,
        "failing": 12, "none": 0,
    }  # fmt: skip
    assert Filter.from_parameters(of_dead.parameters()) == of_dead


def test_a_cause_that_is_no_fingerprint_is_not_understood():
    for text in ("x", "A" * 12, "0" * 13, "' OR 1=1"):
        with pytest.raises(BadFilter, match="cause"):
            Filter.from_parameters({"cause": [text]})


@both_databases
@pytest.mark.usefixtures("trouble")
def test_a_whole_group_is_replayed_once_its_bug_is_mended(groups, inbox, bugs, work, stored):
    cause = groups()["test.fails", "ValueError"].cause
    bugs.clear()
    number = bulk.plan(inbox, Filter(cause=cause), actor="siti", reason="mended")
    planned = bulk.look(inbox, number)

    bulk.confirm(inbox, number, actor="siti")
    work_off(inbox)
    work()

    assert (planned.count, bulk.look(inbox, number).job.done) == (12, 12)
    assert {stored(f"evt_fails_{number}").state for number in range(12)} == {"processed"}
    assert ("test.fails", "ValueError") not in groups()


@both_databases
@pytest.mark.usefixtures("trouble")
def test_a_whole_group_is_dismissed_and_its_failing_events_are_left_alone(groups, inbox):
    causes = {name[0]: group.cause for name, group in groups().items()}
    numbers = {
        event_type: bulk.plan(inbox, Filter(cause=cause), actor="siti", reason="old", act=Act.DISMISS)
        for event_type, cause in causes.items()
    }
    planned = {event_type: bulk.look(inbox, number).count for event_type, number in numbers.items()}

    for number in numbers.values():
        bulk.confirm(inbox, number, actor="siti")
    work_off(inbox)

    done = {event_type: bulk.look(inbox, number).job.done for event_type, number in numbers.items()}
    assert planned == done == {"test.fails": 0, "test.dead": 3, None: 3, "test.refused": 0}
    assert {name[0] for name in groups()} == {"test.fails", "test.refused"}


@both_databases
def test_a_worker_that_dies_is_a_cause_too(inbox, deliver, clock, stored, environment, groups):
    deliver("test.event", event_id="evt_1")
    for _ in range(inbox.settings.max_attempts + 2):
        lease_due(Workbench(inbox, "a worker that dies"))
        clock.advance(minutes=5)

    [group] = groups().values()
    assert (stored("evt_1").state, group.count, group.sample.event_type) == ("dead", 1, "test.event")
    assert "the worker died" in group.sample.last_error


@pytest.mark.usefixtures("trouble")
def test_the_page_shows_groups_and_leads_to_their_events_and_their_replay(signed_in, csrf_token, inbox, groups, clock):
    cause = groups()["test.fails", "ValueError"].cause
    with writing(inbox.engine) as session:
        row = {"worker": "w", "started_at": inbox.now(plus=-3600), "seen_at": inbox.now()}
        session.execute(sa.insert(Heartbeat).values(row))
    client = signed_in()

    page_of_all = client.get("/failures")
    of_one = client.get(f"/events?cause={cause}").text
    planned = client.post(
        f"/bulk?cause={cause}", data={"csrf_token": csrf_token(page_of_all)}, follow_redirects=True
    ).text
    exported = client.get(f"/events/export.csv?cause={cause}").text

    text = page_of_all.text
    assert (">12</strong>" in text, "in bugs.handle" in text, 'class="flag">new' in text) == (True, True, True)
    assert (f"/events?cause={cause}" in text, "12 failing" in text, "unusable: " in text) == (True, True, True)
    assert (of_one.count('id="row-'), "Only failures of one cause" in of_one) == (12, True)
    assert "12 events would be replayed" in planned
    assert exported.count("evt_fails_") == 12
    assert "/failures" in client.get("/").text


def test_a_viewer_sees_no_button_and_an_empty_page_says_so(signed_in, bugs, deliver, work):
    client = signed_in("viewer")
    empty = client.get("/failures?since=24h").text
    deliver("test.dead")
    work()

    text = client.get("/failures").text

    assert "Nothing fails." in empty
    assert ("Replay all" in text, "PermanentFailure" in text, "No worker lives" in text) == (False, True, True)
    assert client.get("/failures?since=ever").status_code == 400


@pytest.mark.usefixtures("trouble")
def test_the_command_lists_the_groups_and_the_others_take_a_cause(app, groups, bugs, stored):
    runner = app.test_cli_runner()
    dead = groups()["test.dead", "PermanentFailure"].cause
    fails = groups()["test.fails", "ValueError"].cause

    told = json.loads(runner.invoke(args=["events", "failures", "--json", "--hours", "1"]).output)
    said = runner.invoke(args=["events", "failures"]).output
    listed = runner.invoke(args=["events", "list", "--cause", fails, "--json"]).output
    bugs.clear()
    replayed = runner.invoke(args=["events", "replay", "--cause", fails])
    dismissed = runner.invoke(args=["events", "dismiss", "--cause", dead, "--reason", "old"])
    both = runner.invoke(args=["events", "replay", "--cause", fails, "--state", "dead"])

    [first] = [row for row in told["failures"] if row["cause"] == fails]
    assert (first["count"], first["by_state"], first["new"]) == (12, {"pending": 12}, True)
    assert (told["capped"], len(told["failures"])) == (False, 4)
    assert (f"    12  {fails}  test.fails  ValueError at" in said, len(json.loads(listed))) == (True, 12)
    assert (replayed.exit_code, replayed.output.splitlines()[-1]) == (0, "12 replayed, 0 refused")
    assert (dismissed.exit_code, dismissed.output.splitlines()[-1]) == (0, "3 dismissed, 0 refused")
    assert both.exit_code == 2


@both_databases
def test_what_is_dismissed_or_due_again_has_no_cause(inbox, bugs, deliver, work, stored, session):
    deliver("test.dead", event_id="evt_1")
    deliver("test.dead", event_id="evt_2")
    work()
    causes = {stored(event_id).cause for event_id in ("evt_1", "evt_2")}

    dismiss(inbox, stored("evt_1").id, actor="siti", reason="old")

    assert len(causes) == 1
    assert causes != {None}
    assert stored("evt_1").cause is None
    assert session.scalar(sa.select(sa.func.count(StoredEvent.cause))) == 1


@both_databases
def test_lists_and_exports_say_of_each_error_where_it_was_raised_and_by_which_handler(
    signed_in, app, deliver, work, stored
):
    def broken(event, session):
        raise PermanentFailure("no product of this code is sold " * 9)

    handles("wordy.type")(broken)
    deliver("wordy.type", event_id="evt_1")
    work()

    client = signed_in()
    place = re.search(r"tests/receiver/test_failures\.py:[0-9]+ in \S+broken", stored("evt_1").last_error)[0]
    [exported] = csv.DictReader(io.StringIO(client.get("/events/export.csv?state=dead").text))
    listed = app.test_cli_runner().invoke(args=["events", "list", "--json"]).stdout
    told = [json.loads(listed)[0], client.get("/events/export.json").json[0], exported]
    for path in ("/events", "/events?state=dead", f"/events/{stored('evt_1').id}"):
        assert place in unescape(client.get(path).text), path
    for row in told:
        assert place in row["last_error"]
        assert row["handler"].startswith("tests.receiver.test_failures.")


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("ValueError at app/a.py:4 in f, caused by KeyError", ("ValueError", "app/a.py:4 in f, caused by KeyError")),
        ("BankClosed: no answer (at app/a.py:4 in A.f)", ("BankClosed: no answer", "app/a.py:4 in A.f")),
        (
            "Odd: said (at x.py:1 in g) twice (at app/a.py:4 in f)",
            ("Odd: said (at x.py:1 in g) twice", "app/a.py:4 in f"),
        ),
        ("not yet: the bank rests at night", ("not yet: the bank rests at night", "")),
        ("unusable: event_type missing", ("unusable: event_type missing", "")),
        (" (at" * 5000, (" (at" * 5000, "")),
    ],
    ids=lambda value: "",
)
def test_an_error_is_told_apart_from_its_place(line, parts):
    assert what_and_where(line) == parts
