"""Replays by a person: one event, or all that a filter finds. Whoever clicks how often, each is replayed once."""

import pytest
import sqlalchemy as sa

from receiver.actions import bulk
from receiver.actions.bulk import Progress
from receiver.actions.replay import CannotReplay, replay
from receiver.database.engine import writing
from receiver.maintenance.retention import purge
from receiver.privacy.sealing import seal
from receiver.queries.filters import Filter
from receiver.registry import PermanentFailure, handles
from receiver.store.lifecycle import State
from receiver.store.models import AuditEntry, BulkAct, StoredEvent
from receiver.testing import both_databases
from tests.receiver.databases import on_postgresql

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
    while bulk.step(inbox):
        pass


@both_databases
@pytest.mark.usefixtures("dead")
def test_a_plan_counts_and_shows_and_replays_nothing(inbox, replays):
    number = bulk.plan(inbox, DEAD, actor="siti", reason="mended")
    work_off(inbox)

    found = bulk.look(inbox, number)
    assert (found.count, found.capped, len(found.sample), found.job.state) == (3, False, 3, Progress.PLANNED)
    assert replays() == []


@both_databases
@pytest.mark.usefixtures("dead")
def test_a_confirmed_plan_replays_everything_that_its_filter_finds(inbox, work, stored, replays):
    number = bulk.plan(inbox, DEAD, actor="siti", reason="mended")

    bulk.confirm(inbox, number, actor="siti")
    work_off(inbox)
    work()

    done = bulk.look(inbox, number).job
    assert (done.state, done.done, done.skipped) == (Progress.DONE, 3, 0)
    assert replays() == ["evt_0", "evt_1", "evt_2"]
    assert {stored(f"evt_{number}").state for number in range(3)} == {"processed"}


@both_databases
@pytest.mark.usefixtures("dead")
def test_two_operators_with_the_same_plan_make_one_replay(inbox, work, replays):
    everything = Filter(event_type="test.event")
    numbers = [bulk.plan(inbox, everything, actor=name, reason=None) for name in ("siti", "devi")]

    for number in numbers:
        bulk.confirm(inbox, number, actor="siti")
        bulk.confirm(inbox, number, actor="siti")
        work_off(inbox)
        work()

    assert replays() == ["evt_0", "evt_1", "evt_2"]


@both_databases
@pytest.mark.usefixtures("dead")
def test_a_cancelled_plan_replays_nothing_and_stays_cancelled(inbox, replays):
    number = bulk.plan(inbox, DEAD, actor="siti", reason=None)

    cancelled = bulk.cancel(inbox, number, actor="siti")
    confirmed = bulk.confirm(inbox, number, actor="siti")
    work_off(inbox)

    assert (cancelled, confirmed, replays()) == (True, False, [])


@pytest.mark.usefixtures("dead")
def test_the_page_plans_confirms_and_shows_the_result(signed_in, csrf_token, inbox, work):
    client = signed_in()
    token = {"csrf_token": csrf_token(client.get("/events"))}
    planned = client.post("/bulk?state=dead", data=token | {"reason": "mended"}, follow_redirects=True)
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


@pytest.fixture
def spoil(inbox, clock, stored):
    """Take an event's payload from its handler, in one of the ways that it may be lost."""

    def change(event_id, how):
        row = stored(event_id)
        values = {
            "erased": {"received_at": inbox.now(plus=-91 * 86400)},
            "unreadable": {"sealed_payload": b"broken"},
            "unusable": {"sealed_payload": seal(b"{}", row=row.seal_id, keys=inbox.settings.payload_keys)},
        }
        with writing(inbox.engine) as session:
            session.execute(sa.update(StoredEvent).where(StoredEvent.id == row.id).values(values[how]))
        if how == "erased":
            purge(inbox, actor="test")

    return change


SPOILT = {
    "erased": "its payload was erased by retention",
    "unreadable": "its payload cannot be unsealed: malformed",
    "unusable": "it does not parse: event_id",
}


@both_databases
@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize(("event_type", "state"), [("payment.success", "processed"), ("test.unknown", "unhandled")])
def test_an_event_without_a_readable_payload_is_not_replayed_and_stays_as_it_is(
    inbox, deliver, work, stored, spoil, replays, how, event_type, state
):
    deliver(event_type, event_id="evt_1")
    work()
    spoil("evt_1", how)

    with pytest.raises(CannotReplay, match=SPOILT[how]) as refused:
        replay(inbox, stored("evt_1").id, actor="siti")
    work()

    assert (refused.value.reason, stored("evt_1").state, replays()) == (how, state, [])


@pytest.mark.parametrize("how", SPOILT)
def test_the_page_says_why_an_event_is_not_replayed(signed_in, csrf_token, deliver, work, stored, spoil, how):
    deliver(event_id="evt_1")
    work()
    spoil("evt_1", how)
    client = signed_in()
    form = {"csrf_token": csrf_token(client.get("/events")), "sure": "yes", "reason": "asked for"}

    answer = client.post(f"/events/{stored('evt_1').id}/replay", data=form, follow_redirects=True)

    assert SPOILT[how] in answer.text
    assert stored("evt_1").state == "processed"


def test_the_command_line_replays_what_it_can_and_says_of_the_rest_why_not(app, deliver, work, stored, spoil):
    for number, how in enumerate([*SPOILT, None]):
        deliver(event_id=f"evt_{number}")
        work()
        if how:
            spoil(f"evt_{number}", how)

    done = app.test_cli_runner().invoke(args=["events", "replay", "--state", "processed"])

    assert done.exit_code == 1
    assert f"evt_0: {SPOILT['erased']}\n" in done.output
    assert "1 replayed, 3 refused; " in done.output
    assert "retention has erased the payload: 1" in done.output
    assert [stored(f"evt_{number}").state for number in range(4)] == ["processed"] * 3 + ["pending"]


@both_databases
@pytest.mark.usefixtures("dead")
def test_a_bulk_replay_leaves_alone_what_has_no_readable_payload_and_counts_it_by_its_reason(
    inbox, work, stored, spoil, replays
):
    spoil("evt_0", "unreadable")
    spoil("evt_1", "unusable")
    number = bulk.plan(inbox, DEAD, actor="siti", reason=None)

    bulk.confirm(inbox, number, actor="siti")
    work_off(inbox)
    work()

    done = bulk.look(inbox, number).job
    assert (done.done, done.skipped) == (1, 2)
    assert done.skipped_because == {"unreadable": 1, "unusable": 1}
    assert [stored(f"evt_{number}").state for number in range(3)] == ["dead", "dead", "processed"]
    assert replays() == ["evt_2"]


@pytest.mark.usefixtures("dead")
def test_the_page_of_a_bulk_replay_says_why_events_were_left_alone(signed_in, csrf_token, inbox, spoil):
    spoil("evt_0", "erased")
    client = signed_in()
    token = {"csrf_token": csrf_token(client.get("/events"))}
    address = client.post("/bulk?state=dead", data=token).location

    client.post(f"{address}/confirm", data=token)
    work_off(inbox)

    page = client.get(address)
    assert "2 replayed, 1 skipped" in page.text
    assert "1 skipped: retention has erased the payload" in page.text


@on_postgresql
@pytest.mark.usefixtures("dead")
def test_a_step_of_a_bulk_replay_belongs_to_one_worker(inbox, replays):
    number = bulk.plan(inbox, DEAD, actor="siti", reason=None)
    bulk.confirm(inbox, number, actor="siti")

    with inbox.engine.begin() as of_another_worker:
        of_another_worker.execute(sa.select(BulkAct.id).with_for_update())
        taken = bulk.step(inbox)
        meanwhile = replays()
    work_off(inbox)

    done = bulk.look(inbox, number).job
    assert (taken, meanwhile) == (False, [])
    assert (done.done, done.skipped) == (3, 0)


@on_postgresql
@pytest.mark.usefixtures("dead")
def test_a_step_that_is_cut_off_has_not_happened_and_is_counted_once(inbox, replays, stored):
    number = bulk.plan(inbox, DEAD, actor="siti", reason=None)
    bulk.confirm(inbox, number, actor="siti")
    with inbox.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION cut_off() RETURNS trigger AS $$ BEGIN IF NEW.event_id = 'evt_0' THEN"
            " PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NEW; END $$ LANGUAGE plpgsql;"
            "CREATE TRIGGER cut_off BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION cut_off()"
        )

    with pytest.raises(sa.exc.DBAPIError):
        bulk.step(inbox)
    after_the_cut = replays()
    with inbox.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER cut_off ON events")
    work_off(inbox)

    done = bulk.look(inbox, number).job
    assert after_the_cut == []
    assert (done.done, done.skipped, replays()) == (3, 0, ["evt_0", "evt_1", "evt_2"])


@on_postgresql
@pytest.mark.usefixtures("dead")
def test_one_event_that_the_database_refuses_does_not_hold_up_a_bulk_replay(inbox, stored):
    number = bulk.plan(inbox, DEAD, actor="siti", reason=None)
    bulk.confirm(inbox, number, actor="siti")
    with inbox.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE events ADD CHECK (event_id <> 'evt_1' OR state <> 'pending')")

    work_off(inbox)

    done = bulk.look(inbox, number).job
    assert (done.state, done.done, done.skipped_because) == ("done", 2, {"refused": 1})
    assert stored("evt_1").state == "dead"
