"""Types and fields that are seen for the first time (§5.2, §11.1) are noted once, whatever senders come up with."""

import re
from dataclasses import replace
from itertools import product

import pytest
import sqlalchemy as sa

from receiver.store.models import Observation
from receiver.testing import both_databases
from receiver.worker.batch import process_next
from receiver.worker.novelty import MOST_AT_ONCE, MOST_FIELDS, MOST_LOOKED_AT
from receiver.worker.workbench import Workbench
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs


@pytest.fixture
def workbench(workbench):
    """All handlers are quick, on a machine that stalls too: events of one batch are settled together."""
    return replace(workbench, stopwatch=lambda: 0.0)


@pytest.fixture
def noted(inbox):
    """The names of a kind that were noted."""

    def find(kind):
        with inbox.engine.connect() as connection:
            return set(connection.scalars(sa.select(Observation.name).where(Observation.kind == kind)))

    return find


@pytest.fixture
def notes(inbox):
    """The statements that wrote a note, from now on."""
    written = []

    def listen(_connection, _cursor, statement, *_rest):
        if statement.startswith("INSERT INTO observations"):
            written.append(statement)

    sa.event.listen(inbox.engine, "before_cursor_execute", listen)
    yield written
    sa.event.remove(inbox.engine, "before_cursor_execute", listen)


@both_databases
def test_a_type_and_the_fields_of_a_payload_are_noted(deliver, work, noted):
    deliver("test.new", event_id="evt_1", data={"items": [{"sku": 1}, {"tax": {"rate": 6}}], "900101-14-5678": 1})
    work()

    assert "test.new" in noted("type")
    assert noted("field") >= {"event_id", "data", "data.items", "data.items[].sku", "data.items[].tax.rate"}
    assert "data.[key]" in noted("field")
    assert not any("900101" in name for name in noted("field"))


@both_databases
def test_keys_that_are_data_are_one_field_however_many_they_are(deliver, work, noted):
    people = [f"Siti Nurhaliza binti Osman {number}" for number in range(2_000)]
    deliver("test.people", data=dict.fromkeys(people, 1))
    deliver("test.people", data={"siti@example.com": {"MYR": 1}, "012-345 6789": {"MYR": 1}})

    work()

    assert {name for name in noted("field") if name.startswith("data")} == {"data", "data.[key]", "data.[key].MYR"}


@both_databases
def test_a_type_that_looks_like_no_type_is_noted_as_people_see_it(deliver, work, noted):
    deliver("siti@example.com")

    work()

    assert [re.sub(" [a-z]{10}", "", name) for name in noted("type")] == ["[e-mail]"]


@both_databases
def test_a_new_shape_of_known_names_writes_nothing(deliver, work, notes):
    deliver("test.new", data={f"flag_{number}": True for number in range(5)})
    work()
    notes.clear()

    for flags in product((True, False), repeat=5):
        deliver("test.new", data={f"flag_{number}": True for number, is_set in enumerate(flags) if is_set})
    work()

    assert notes == []


@both_databases
def test_what_is_new_in_a_batch_is_written_at_once(deliver, work, notes, noted):
    deliver("test.new")
    work()
    notes.clear()

    for number in range(5):
        deliver("test.new", data={f"new_{number}": 1, f"other_{number}": 1})
    work()

    assert len(notes) == 1
    assert {f"data.new_{number}" for number in range(5)} <= noted("field")


@both_databases
def test_a_process_that_starts_anew_writes_nothing_that_is_known(inbox, deliver, work, notes):
    deliver("test.new")
    work()
    notes.clear()

    deliver("test.new")
    process_next(Workbench(inbox, "another worker"))

    assert notes == []


@postgresql_and_sqlite_in_long_runs
def test_there_is_an_end_to_the_fields_and_none_to_the_types(deliver, work, noted, notes):
    for event in range(MOST_FIELDS // MOST_AT_ONCE + 2):
        deliver("test.wide", data={f"field_{event}_{number}": 0 for number in range(300)})
        work()
    notes.clear()

    for number in range(3):
        deliver(f"test.late_{number}", data={f"late_{number}": 0})
        work()

    assert len(noted("field")) == MOST_FIELDS
    assert {f"test.late_{number}" for number in range(3)} <= noted("type")
    assert len(notes) == 3


@postgresql_and_sqlite_in_long_runs
def test_of_very_many_fields_few_are_written_at_once_and_the_others_with_later_events(deliver, work, noted):
    counted, data = [], {f"huge_{number}": 0 for number in range(4 * MOST_LOOKED_AT)}
    for number in range(4):
        deliver("test.huge", event_id=f"evt_{number}", data=data)
        work()
        counted.append(len(noted("field")))

    assert counted == [MOST_AT_ONCE, 2 * MOST_AT_ONCE, 3 * MOST_AT_ONCE, MOST_LOOKED_AT]


@both_databases
def test_a_note_that_cannot_be_written_costs_nobody_anything_and_is_taken_later(
    inbox, deliver, work, stored, noted, clock
):
    with inbox.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE observations RENAME TO elsewhere"))
    deliver("test.new", event_id="evt_1")
    work()
    with inbox.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO observations"))
    clock.advance(minutes=2)

    deliver("test.new", event_id="evt_2")
    work()

    assert stored("evt_1").state == "unhandled"
    assert "test.new" in noted("type")
