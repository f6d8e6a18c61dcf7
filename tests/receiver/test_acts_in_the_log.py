"""What a person did is in the log at once, where the owner of the database can't take it back."""

import json
from contextlib import suppress

import pytest
import sqlalchemy as sa

from receiver.actions.dismiss import dismiss
from receiver.database.engine import writing
from receiver.registry import PermanentFailure, handles
from receiver.store.audit import NO_ACTS, record
from receiver.store.models import AuditEntry
from tests.receiver.processes import running


@pytest.fixture
def acts(capfd):
    """The lines of acts since the last look."""

    def read():
        captured = capfd.readouterr()
        lines = [json.loads(line) for line in (captured.out + captured.err).splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == "act"]

    return read


@pytest.fixture
def dead(app, deliver, work, stored):
    """The number of a dead event."""

    @handles("test.event")
    def fails(event, session):
        raise PermanentFailure("never")

    deliver("test.event", event_id="evt_1")
    work()
    return stored("evt_1").id


def test_each_act_on_the_page_is_a_line_and_each_row_of_an_act_has_one(
    dead, acts, signed_in, csrf_token, session, deliver
):
    acts()
    browser = signed_in()
    form = {"csrf_token": csrf_token(browser.get(f"/events/{dead}")), "reason": "the cause is mended"}
    for path in (f"/events/{dead}/replay", "/pauses", "/events/export.csv", f"/events/{dead}/reveal"):
        browser.post(path, data=form | {"event_type": "test.event"})
    browser.get("/events/export.csv")
    browser.get(f"/support/events/{dead}")
    browser.post("/sign-out", data=form)
    browser.post("/sign-in", data=form | {"name": "siti", "password": "wrong"})

    said = [(line["action"], line["result"]) for line in acts()]

    rows = sa.select(AuditEntry.action, AuditEntry.result).where(AuditEntry.action.not_in(NO_ACTS))
    assert said == [tuple(row) for row in session.execute(rows.order_by(AuditEntry.id))]
    assert {"sign_in", "replay", "export", "support", "sign_out"} <= {action for action, _ in said}


def test_a_line_says_who_did_what_to_which_event_and_why(dead, acts, inbox):
    acts()
    dismiss(inbox, dead, actor="siti", reason="a test of Nurul, 900101-14-5678")

    (line,) = acts()
    expected = {"action": "dismiss", "result": "dismissed", "actor": "siti", "event_id": "evt_1", "inbox_id": dead}
    assert line.items() >= expected.items()
    assert line["detail"].startswith("a test")
    assert "900101" not in str(line)


def test_what_was_taken_back_is_no_line(acts, inbox):
    acts()
    with suppress(ZeroDivisionError), writing(inbox.engine) as session:
        record(session, inbox, "export", "taken back", actor="siti")
        raise ZeroDivisionError
    with writing(inbox.engine) as session:
        with suppress(ZeroDivisionError), session.begin_nested():
            record(session, inbox, "export", "taken back by a savepoint", actor="siti")
            raise ZeroDivisionError
        with session.begin_nested():
            record(session, inbox, "export", "kept by a savepoint", actor="siti")
        before_the_commit = acts()
        record(session, inbox, "export", "kept", actor="siti")

    assert before_the_commit == []
    assert [line["result"] for line in acts()] == ["kept by a savepoint", "kept"]


def test_a_command_says_its_acts_beside_what_it_prints(database, environment, dead):
    with running(environment | {"DATABASE_URL": database}) as receiver:
        done = receiver.flask("events", "replay", "evt_1")

    assert "evt_1" in done.stdout
    assert '"act"' not in done.stdout
    (line,) = [json.loads(line) for line in done.stderr.splitlines() if '"event": "act"' in line]
    assert (line["action"], line["event_id"]) == ("replay", "evt_1")
