"""docs/scaling.md is true: each sketch of a migration runs, and the receiver keeps its promises on what it makes."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa

from bench.fill import fill, fill_engine
from bench.simulation import STEPS, simulate
from docs.scaling.spread import spread
from receiver.worker.leases import lease_due
from receiver.worker.pace import FIRST_LEASED
from receiver.worker.workbench import Workbench
from tests.receiver.databases import age_audit_rows, on_postgresql
from tests.receiver.processes import ROOT

PARTS = 16
BLOCK = re.compile(r"<!-- tested: (.+?) -->\s+```sql\n(.*?)```", re.DOTALL)
SKETCHES = dict(BLOCK.findall((ROOT / "docs" / "scaling.md").read_text()))


def test_no_sql_of_the_document_is_untested():
    text = (ROOT / "docs" / "scaling.md").read_text()

    assert set(SKETCHES) == {"events by hash", "audit log by month"}
    assert len(SKETCHES) == text.count("```sql")


@pytest.mark.parametrize("steps", [STEPS[2:3], pytest.param(STEPS, marks=pytest.mark.soak)], ids=["one", "every"])
def test_the_steps_of_the_document_are_what_the_simulation_prints(steps):
    text = (ROOT / "docs" / "scaling.md").read_text()

    for line in simulate(steps):
        assert line in text


@pytest.mark.soak
def test_the_places_of_the_document_are_what_the_hash_deals_out():
    text = (ROOT / "docs" / "scaling.md").read_text()

    for line in spread():
        assert line in text


@on_postgresql
def test_on_partitions_one_event_id_is_one_row_however_often_and_at_once_it_is_delivered(
    database, sender, payload, work, session
):
    sent = [payload(event_id=f"evt_{number}") for number in range(100)]
    before = payload(event_id="before")
    sender.deliver(before)
    run(database, "events by hash")

    with ThreadPoolExecutor(8) as senders:
        answers = [answer.json["status"] for answer in senders.map(sender.deliver, sent * 3)]
    again = sender.deliver(before).json["status"]
    work()

    assert (answers.count("accepted"), answers.count("duplicate"), again) == (100, 200, "duplicate")
    assert session.execute(sa.text("SELECT count(*), count(DISTINCT event_id) FROM events")).one() == (101, 101)
    assert session.scalar(sa.text("SELECT count(DISTINCT tableoid) FROM events")) == PARTS
    assert session.scalar(sa.text("SELECT count(*) FROM events WHERE state = 'processed'")) == 101


@on_postgresql
def test_the_database_itself_refuses_a_second_row_of_an_event_id(database, deliver, session):
    run(database, "events by hash")
    deliver(event_id="evt_1")
    columns = "seal_id, event_id, received_at, environment, state, body_digest"
    copy = f"INSERT INTO events ({columns}) SELECT {columns} FROM events"

    ignored = session.execute(sa.text(f"{copy} ON CONFLICT DO NOTHING")).rowcount

    assert ignored == 0
    with pytest.raises(sa.exc.IntegrityError, match="event_id"):
        session.execute(sa.text(copy))


@on_postgresql
def test_quarantined_bodies_share_a_partition_and_each_is_kept_once(database, sender, session):
    run(database, "events by hash")
    no_events = (b"no event", b"no event either", b"no event")

    for body in no_events:
        sender.deliver(body)

    found = "SELECT count(*), count(DISTINCT tableoid), sum(deliveries) FROM events WHERE event_id IS NULL"
    assert session.execute(sa.text(found)).one() == (2, 1, 3)


@on_postgresql
def test_a_lease_reads_the_index_of_what_is_due_in_each_partition(database, inbox):
    engine = fill_engine(database)
    fill(engine, 20_000)
    engine.dispose()
    run(database, "events by hash")
    leases = []

    @sa.event.listens_for(inbox.engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, parameters, _context, _many):
        if "SKIP LOCKED" in statement:
            leases.append((statement, parameters))

    leased = lease_due(Workbench(inbox, "worker"))
    statement, parameters = leases[-1]
    with psycopg.connect(database) as connection:
        connection.execute("ANALYZE events")
        (plan,) = connection.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters).fetchone()

    assert len(leased) == FIRST_LEASED
    assert set(re.findall(r'"events_(\d+)_due_at_id_idx"', json.dumps(plan))) == set(map(str, range(PARTS)))


@on_postgresql
def test_the_audit_log_by_month_is_append_only_in_every_partition(database, deliver, work, session):
    deliver(event_id="before")
    run(database, "audit log by month")
    deliver(event_id="after")
    work()
    month = session.scalar(sa.text("SELECT 'audit_log_' || to_char(now() + interval '1 month', 'YYYY_MM')"))
    for later in ("1 month", "900 days"):
        row = f"now() + interval '{later}', 'test', 'x'"
        execute(database, f"INSERT INTO audit_log (at, action, result) VALUES ({row})")

    for table in ("audit_log", "audit_log_first", "audit_log_later", month):
        for change in (f"UPDATE {table} SET result = 'changed'", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                execute(database, change)

    kept = session.execute(sa.text("SELECT event_id, action FROM audit_log WHERE action <> 'test' ORDER BY id")).all()
    assert len(kept) == 4
    disabled = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'audit_log_%' AND tgenabled <> 'A'"
    assert session.scalar(sa.text(disabled)) == 0


@on_postgresql
def test_a_month_of_the_audit_log_is_dropped_when_it_is_past_the_horizon_and_not_before(database, session, inbox):
    run(database, "audit log by month")
    execute(database, "ALTER TABLE audit_log DETACH PARTITION audit_log_first")
    execute(database, "SELECT audit_log_add_month('2020-01-01')")
    execute(database, "INSERT INTO audit_log (at, action, result) VALUES ('2020-01-15', 'test', 'old')")
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):  # it was recorded just now
        execute(database, "SELECT audit_log_drop_month('2020-01-01')")
    age_audit_rows(inbox.engine, days=366, but_not="at")
    this_month = session.scalar(sa.text("SELECT date_trunc('month', now())::date::text"))
    execute(database, f"SELECT audit_log_add_month('{this_month}')")

    execute(database, "SELECT audit_log_drop_month('2020-01-01')")

    assert session.scalar(sa.text("SELECT count(*) FROM audit_log WHERE result = 'old'")) == 0
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        execute(database, f"SELECT audit_log_drop_month('{this_month}')")


def run(database, name):
    execute(database, SKETCHES[name])


def execute(database, statements):
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(statements)
