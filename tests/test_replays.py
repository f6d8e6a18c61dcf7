"""Replays by a person: one event, or all that a filter finds. Whoever clicks how often, each is replayed once."""

import pytest
import sqlalchemy as sa

from app.inbox import bulk_replay
from app.inbox.bulk_replay import Progress
from app.inbox.filters import Filter
from app.inbox.lifecycle import State
from app.inbox.models import AuditEntry
from app.registry import PermanentFailure, handles
from tests.databases import both_databases

DEAD = Filter(states=frozenset({State.DEAD}))


@pytest.fixture
def dead(deliver, work):
    """Three dead events, whose handler is mended by now."""
    broken = [True]

    @handles("test.event")
    def fail(event, session):
        if broken:
            raise PermanentFailure("not yet")

    for number in range(3):
        deliver("test.event", event_id=f"evt_{number}")
    work()
    broken.clear()


@pytest.fixture
def replays(inbox):
    """Who replayed what, by the audit log."""

    def find():
        acts = sa.select(AuditEntry.event_id).where(AuditEntry.action == "replay").order_by(AuditEntry.event_id)
        with inbox.engine.connect() as connection:
            return connection.scalars(acts).all()

    return find


def work_off(inbox):
    while bulk_replay.step(inbox):
        pass


@both_databases
@pytest.mark.usefixtures("dead")
def test_a_plan_counts_and_shows_and_replays_nothing(inbox, replays):
    number = bulk_replay.plan(inbox, DEAD, actor="siti", reason="mended")
    work_off(inbox)

    found = bulk_replay.look(inbox, number)
    assert (found.count, found.capped, len(found.sample), found.replay.state) == (3, False, 3, Progress.PLANNED)
    assert replays() == []


@both_databases
@pytest.mark.usefixtures("dead")
def test_a_confirmed_plan_replays_everything_that_its_filter_finds(inbox, work, stored, replays):
    number = bulk_replay.plan(inbox, DEAD, actor="siti", reason="mended")

    bulk_replay.confirm(inbox, number, actor="siti")
    work_off(inbox)
    work()

    done = bulk_replay.look(inbox, number).replay
    assert (done.state, done.replayed, done.skipped) == (Progress.DONE, 3, 0)
    assert replays() == ["evt_0", "evt_1", "evt_2"]
    assert {stored(f"evt_{number}").state for number in range(3)} == {"processed"}


@both_databases
@pytest.mark.usefixtures("dead")
def test_two_operators_with_the_same_plan_make_one_replay(inbox, work, replays):
    everything = Filter(event_type="test.event")
    numbers = [bulk_replay.plan(inbox, everything, actor=name, reason=None) for name in ("siti", "devi")]

    for number in numbers:
        bulk_replay.confirm(inbox, number, actor="siti")
        bulk_replay.confirm(inbox, number, actor="siti")
        work_off(inbox)
        work()

    assert replays() == ["evt_0", "evt_1", "evt_2"]


@both_databases
@pytest.mark.usefixtures("dead")
def test_a_cancelled_plan_replays_nothing_and_stays_cancelled(inbox, replays):
    number = bulk_replay.plan(inbox, DEAD, actor="siti", reason=None)

    cancelled = bulk_replay.cancel(inbox, number, actor="siti")
    confirmed = bulk_replay.confirm(inbox, number, actor="siti")
    work_off(inbox)

    assert (cancelled, confirmed, replays()) == (True, False, [])


@pytest.mark.usefixtures("dead")
def test_the_page_plans_confirms_and_shows_the_result(signed_in, csrf_token, inbox, work):
    client = signed_in()
    token = {"csrf_token": csrf_token(client.get("/events"))}
    planned = client.post("/replays?state=dead", data=token | {"reason": "mended"}, follow_redirects=True)
    address = planned.request.path

    confirmed = client.post(f"{address}/confirm", data=token, follow_redirects=True)
    work_off(inbox)
    done = client.get(address)

    assert "3 events would be replayed" in planned.text
    assert "Running: 0 replayed" in confirmed.text
    assert "Done: 3 replayed" in done.text


@pytest.mark.usefixtures("dead")
def test_a_double_click_makes_one_replay(signed_in, csrf_token, stored, work, replays):
    client = signed_in()
    address = f"/events/{stored('evt_1').id}"
    page = client.get(address)
    seen = page.text.split('name="seen" value="')[1].split('"')[0]
    form = {"csrf_token": csrf_token(page), "seen": seen}

    client.post(f"{address}/replay", data=form)
    work()
    client.post(f"{address}/replay", data=form | {"sure": "yes", "reason": "clicked twice"})

    assert replays() == ["evt_1"]


def test_an_event_that_was_processed_asks_once_more_and_wants_a_reason(signed_in, csrf_token, deliver, work, stored):
    deliver(event_id="evt_1")
    work()
    client = signed_in()
    address = f"/events/{stored('evt_1').id}/replay"
    token = {"csrf_token": csrf_token(client.get("/events"))}

    asked = client.post(address, data=token)
    without_a_reason = client.post(address, data=token | {"sure": "yes", "reason": " "})

    assert "Replay an event that was processed?" in asked.text
    assert "Replay an event that was processed?" in without_a_reason.text
    assert stored("evt_1").state == "processed"
