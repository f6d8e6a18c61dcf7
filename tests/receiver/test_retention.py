"""What retention erases, and that it takes its turn beside the events instead of in their way."""

from uuid import uuid4

import pytest
import sqlalchemy as sa

from receiver.database.engine import writing
from receiver.maintenance.retention import purge, purge_if_due
from receiver.privacy.sealing import seal
from receiver.store.audit import record
from receiver.store.models import AuditEntry, Heartbeat, StoredEvent
from receiver.testing import both_databases
from tests.receiver.databases import age_audit_rows, on_postgresql, postgresql_and_sqlite_in_long_runs

DAY = 86400


class Hasty:
    """The stopwatch of a worker whose turns are over soon: it goes on by a little whenever somebody looks at it."""

    seconds = 0.0

    def __call__(self):
        self.seconds += 0.15
        return self.seconds


@pytest.fixture
def keep(inbox):
    """Put many rows into the inbox that were processed so many days ago."""

    def insert(count, days, **columns):
        row = {
            "event_type": "payment.success", "received_at": inbox.now(plus=-days * DAY), "environment": "sandbox",
            "state": "processed", "body_digest": "x", "sealed_payload": b"sealed", "masked_payload": "{}",
        }  # fmt: skip
        with writing(inbox.engine) as session:
            for start in range(0, count, 500):
                rows = [
                    row | columns | {"seal_id": uuid4(), "event_id": f"evt_{uuid4().hex}"}
                    for _ in range(start, min(start + 500, count))
                ]
                session.execute(sa.insert(StoredEvent).values(rows))

    return insert


@pytest.fixture
def holding(inbox):
    """How many events still hold a sealed payload, and how many a masked one."""

    def count():
        held = [
            sa.func.count().filter(column.is_not(None))
            for column in (StoredEvent.sealed_payload, StoredEvent.masked_payload)
        ]
        with inbox.engine.connect() as connection:
            return tuple(connection.execute(sa.select(*held)).one())

    return count


@postgresql_and_sqlite_in_long_runs
def test_a_turn_does_a_part_and_the_next_ones_soon_do_the_rest(inbox, keep, holding, clock):
    keep(1700, days=100)

    more, left, stopwatch = [], [], Hasty()
    for _ in range(6):
        more.append(purge_if_due(inbox, actor="worker", stopwatch=stopwatch))
        left.append(holding()[0])
        clock.advance(seconds=3)

    assert (more[0], 0 < left[0] < 1700) == (True, True)
    assert (more[-1], left[-1], holding()[1]) == (False, 0, 1700)


@postgresql_and_sqlite_in_long_runs
def test_a_turn_is_one_workers_alone_however_long_it_takes(inbox, keep, holding, clock):
    keep(1700, days=100)
    untouched = []

    def a_minute_later():
        clock.advance(minutes=1)
        before = holding()
        purge_if_due(inbox, actor="another worker")
        untouched.append(holding() == before)
        return 0.0 if len(untouched) < 2 else 1.0

    purge_if_due(inbox, actor="worker", stopwatch=a_minute_later)

    assert untouched[0]


@both_databases
def test_the_turn_of_a_worker_that_died_in_it_is_taken_by_another(inbox, keep, holding, clock):
    keep(3, days=100)

    def dies():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purge_if_due(inbox, actor="worker", stopwatch=dies)
    clock.advance(minutes=3)
    purge_if_due(inbox, actor="another worker")

    assert holding()[0] == 0


@both_databases
def test_the_hour_is_done_when_everything_is_done(inbox, keep, holding, clock):
    keep(3, days=100)
    purge_if_due(inbox, actor="worker")
    done = holding()

    keep(3, days=100)
    clock.advance(minutes=50)
    purge_if_due(inbox, actor="worker")
    within_the_hour = holding()
    clock.advance(minutes=20)
    purge_if_due(inbox, actor="worker")

    assert (done[0], within_the_hour[0], holding()[0]) == (0, 3, 0)


@on_postgresql
def test_a_rule_that_fails_stops_no_other_and_is_tried_again(inbox, keep, holding, clock, session):
    keep(3, days=100)
    keep(3, days=400, sealed_payload=None)
    with writing(inbox.engine) as writer:
        record(writer, inbox, "test", "old")
    age_audit_rows(inbox.engine, days=800)
    with inbox.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'no'; END $$ LANGUAGE plpgsql;"
            "CREATE TRIGGER refusing BEFORE UPDATE ON events FOR EACH ROW"
            " WHEN (OLD.sealed_payload IS NOT NULL) EXECUTE FUNCTION refuse()"
        )

    purge_if_due(inbox, actor="worker")
    refused, audit = holding(), session.scalars(sa.select(AuditEntry.result).where(AuditEntry.result == "old")).all()
    with inbox.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER refusing ON events")
    clock.advance(minutes=6)
    purge_if_due(inbox, actor="worker")

    assert (refused, audit) == ((3, 3), [])
    assert holding() == (0, 3)


@on_postgresql
def test_the_command_line_says_which_rule_failed_and_exits_with_1(app, inbox, keep):
    keep(3, days=100)
    with inbox.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE events ADD CHECK (sealed_payload IS NOT NULL)")

    done = app.test_cli_runner().invoke(args=["events", "purge"])

    assert done.exit_code == 1
    assert "failed" in done.stdout
    assert "sealed" in done.stdout


@both_databases
def test_what_is_pending_is_kept_whole_and_what_did_not_parse_for_a_week(inbox, keep, holding):
    keep(1, days=4000, state="pending", due_at=inbox.now())
    keep(1, days=6, state="quarantined", parsed=False, event_id=None, body_digest="young")
    keep(1, days=8, state="quarantined", parsed=False, event_id=None, body_digest="old")
    keep(1, days=8)

    purge(inbox, actor="test")

    assert holding() == (3, 4)


@both_databases
def test_what_was_never_masked_is_masked_when_its_payload_is_erased(inbox, deliver, work, stored, clock):
    deliver(event_id="evt_1")
    deliver(event_id="evt_2")
    work()
    with writing(inbox.engine) as session:
        session.execute(sa.update(StoredEvent).values(masked_payload=None))
        broken = {"sealed_payload": seal(b"{}", row=uuid4(), keys=inbox.settings.payload_keys)}
        session.execute(sa.update(StoredEvent).where(StoredEvent.event_id == "evt_2").values(broken))
    clock.advance(days=91)

    purge(inbox, actor="test")

    assert "payment.success" in stored("evt_1").masked_payload
    assert (stored("evt_1").sealed_payload, stored("evt_2").sealed_payload) == (None, None)


@both_databases
def test_heartbeats_of_yesterday_are_deleted_and_the_turns_own_is_kept(inbox, session):
    for name, days in (("old", 2), ("purge", 2), ("young", 0)):
        moment = inbox.now(plus=-days * DAY)
        with writing(inbox.engine) as writer:
            writer.execute(sa.insert(Heartbeat).values(worker=name, started_at=moment, seen_at=moment))

    purge(inbox, actor="test")

    assert sorted(session.scalars(sa.select(Heartbeat.worker))) == ["purge", "young"]


@pytest.mark.soak
@on_postgresql
def test_a_turn_with_nothing_to_do_reads_next_to_nothing_of_a_large_inbox(inbox, keep, rows_read):
    keep(8000, days=10)

    assert rows_read(lambda: purge_if_due(inbox, actor="worker")) < 100
