"""Whoever may write to the database can add to the audit log, and change or remove nothing.

Each attack goes through a connection of its own, which knows nothing of how the receiver sets up its connections.
"""

import sqlite3
from contextlib import closing
from functools import partial

import psycopg
import pytest
import sqlalchemy as sa

from receiver.database.engine import writing
from receiver.maintenance.retention import purge
from receiver.store.audit import record
from receiver.store.models import AuditEntry
from receiver.testing import both_databases
from tests.receiver.databases import age_audit_rows, on_postgresql

LONG_AGO = "2001-02-03 04:05:06.000000"
A_ROW = {"at": f"'{LONG_AGO}'", "action": "'test'", "result": "'forged'"}


@pytest.fixture
def attack(database, inbox):
    """Run a statement through another connection. Says whether the database took it."""

    def run(statement):
        try:
            if database.startswith("sqlite"):
                with closing(sqlite3.connect(inbox.engine.url.database)) as connection, connection:
                    connection.execute(statement)
            else:
                with psycopg.connect(database) as connection:
                    connection.execute(statement)
        except (sqlite3.Error, psycopg.Error):
            return False
        return True

    return run


@pytest.fixture
def rows(inbox):
    """Every audit row, as it stands."""

    def read():
        with inbox.engine.connect() as connection:
            return connection.execute(sa.text("SELECT * FROM audit_log ORDER BY id")).all()

    return read


@pytest.fixture
def age(inbox):
    """Make every audit row so many days older."""
    return partial(age_audit_rows, inbox.engine)


def insert(how="INSERT", **values):
    row = A_ROW | values
    return f"{how} INTO audit_log ({', '.join(row)}) VALUES ({', '.join(map(str, row.values()))})"


def test_no_way_of_replacing_rewrites_a_row_on_sqlite(inbox, deliver, attack, rows):
    for number in range(3):
        deliver(event_id=f"evt_{number}")
    before = rows()
    lowest, highest = before[0].id, before[-1].id
    attacks = [
        insert(how, **{column: number})
        for how in ("REPLACE", "INSERT OR REPLACE", "INSERT OR IGNORE", "INSERT OR FAIL", "INSERT OR ROLLBACK")
        for column in ("id", "rowid", "_rowid_", "oid")
        for number in (lowest, highest)
    ]
    attacks += [
        insert(id=lowest) + " ON CONFLICT (id) DO UPDATE SET result = 'changed'",
        f"REPLACE INTO audit_log SELECT id, at, action, event_id, event_type, 'changed', occurrences, actor,"
        f" request_id, duration_ms, detail, inbox_id, NULL FROM audit_log WHERE id = {lowest}",
        f"UPDATE OR REPLACE audit_log SET id = {lowest} WHERE id = {highest}",
        f"UPDATE OR REPLACE audit_log SET rowid = {lowest} WHERE id = {highest}",
        f"UPDATE audit_log SET rowid = {highest + 9} WHERE id = {highest}",
        insert("REPLACE", id=-7),
        insert("REPLACE", id=0),
    ]

    taken = [statement for statement in attacks if attack(statement)]

    assert taken == []
    assert rows() == before


@both_databases
def test_a_row_that_its_writer_dates_is_kept_as_long_as_any_other(attack, rows, inbox):
    dates = (LONG_AGO, "2026-01-01 00:00:00.000000", "9999-12-31 00:00:00.000000")
    for moment in dates:
        assert attack(insert(at=f"'{moment}'"))
    before = rows()

    gone = [row.id for row in before if attack(f"DELETE FROM audit_log WHERE id = {row.id}")]
    purge(inbox, actor="test")

    assert gone == []
    assert rows()[: len(before)] == before


@both_databases
def test_no_writer_chooses_when_a_row_was_recorded(attack, rows, deliver):
    deliver()
    attack(insert())
    before = rows()
    dates = ("'2001-02-03 04:05:06'", "'9999-12-31 00:00:00'", "''", "0")
    attacks = [insert(recorded_at=moment) for moment in dates]
    attacks += [f"UPDATE audit_log SET recorded_at = {moment}" for moment in (*dates, "NULL")]

    taken = [statement for statement in attacks if attack(statement)]

    assert taken == []
    assert rows() == before
    assert None not in [row.recorded_at for row in before]


@both_databases
def test_what_the_receiver_writes_is_dated_alike_twice(inbox, deliver, work, session):
    deliver()
    deliver("test.unknown")
    work()
    with writing(inbox.engine) as writer:
        record(writer, inbox, "test", "test")

    rows = session.scalars(sa.select(AuditEntry)).all()

    assert {row.action for row in rows} == {"delivery", "attempt", "test"}
    assert [row for row in rows if abs(row.recorded_at - row.at).total_seconds() > 60] == []


@both_databases
def test_retention_deletes_what_the_database_itself_saw_grow_old(inbox, deliver, age, rows):
    deliver()
    age(days=800)
    old = rows()
    deliver()

    purge(inbox, actor="test")

    assert old[0] not in rows()
    assert [row.result for row in rows()] == ["accepted", "purged"]


@both_databases
def test_retention_is_not_stopped_by_a_row_that_somebody_dated_back(inbox, deliver, age, attack, rows):
    deliver()
    age(days=800)
    attack(insert())

    done = purge(inbox, actor="test")

    assert (done.audit, done.failed) == (1, [])
    assert [row.result for row in rows()] == ["forged", "purged"]


@on_postgresql
def test_neither_a_copy_nor_the_role_of_a_replica_goes_round_the_database_s_clock(attack, rows, database):
    stamped = insert(recorded_at=f"'{LONG_AGO}'")

    assert not attack(f"SET session_replication_role = replica; {stamped}")
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        copy_in(database, (LONG_AGO, "test", "forged", LONG_AGO))
    assert rows() == []


def copy_in(database, row):
    with (
        psycopg.connect(database) as connection,
        connection.cursor().copy("COPY audit_log (at, action, result, recorded_at) FROM STDIN") as copy,
    ):
        copy.write_row(row)
