"""SQLite as old as distributions bring it, and as new: what is too old is refused by name, and nothing newer is needed.

CONTRIBUTING.md says how the tests are run on another version of the library.
"""

import sqlite3

import pytest
import sqlalchemy as sa

from receiver.actions.replay import replay
from receiver.config import ConfigurationError, load_settings
from receiver.maintenance.retention import purge
from receiver.settings.checks import OLDEST_SQLITE
from receiver.testing import both_databases

YOUNGER_FUNCTIONS = {
    "->", "->>", "unixepoch", "format", "timediff", "octet_length", "concat", "concat_ws", "string_agg", "unhex", "if",
    "unistr", "json_error_position", "json_pretty", "jsonb", "jsonb_extract", "jsonb_each", "json_array_insert",
}  # fmt: skip
"""What SQLite has learned since `OLDEST_SQLITE`."""


@both_databases
def test_the_masked_payload_is_kept_once_the_event_is_processed(deliver, work, stored):
    deliver(event_id="evt_1")
    work()

    assert stored("evt_1").state == "processed"
    assert stored("evt_1").masked_payload is not None


@both_databases
def test_a_masked_payload_that_is_there_is_not_masked_again_by_a_replay(deliver, work, stored, inbox):
    deliver(event_id="evt_1")
    work()
    with inbox.engine.begin() as connection:
        connection.execute(sa.text('UPDATE events SET masked_payload = \'{"as": "it was"}\''))

    replay(inbox, stored("evt_1").id, actor="test")
    work()

    assert (stored("evt_1").attempts, stored("evt_1").masked_payload) == (1, '{"as": "it was"}')


def test_no_statement_calls_a_function_that_the_oldest_supported_sqlite_lacks(inbox, deliver, work, stored, clock):
    called = set()

    def note(action, _first, name, *_rest):
        if action == sqlite3.SQLITE_FUNCTION:
            called.add(name.lower())
        return sqlite3.SQLITE_OK

    @sa.event.listens_for(inbox.engine, "connect")
    def watch(connection, _record):
        connection.set_authorizer(note)

    inbox.engine.dispose()
    deliver(event_id="evt_1")
    deliver(event_id="evt_1")
    deliver("claim.updated", event_id="evt_2")
    work()
    replay(inbox, stored("evt_1").id, actor="test")
    work()
    clock.advance(days=100)
    purge(inbox, actor="test")

    assert "json_extract" in called
    assert not called & YOUNGER_FUNCTIONS


def test_a_library_that_is_too_old_is_refused_by_name_at_the_start(environment, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))  # what RHEL 9 brings
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")

    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment | {"DATABASE_URL": "sqlite:///instance/receiver.db"})
    on_postgresql = load_settings(environment | {"DATABASE_URL": "postgresql://u@h/d"})

    assert caught.value.mistakes[0].startswith("DATABASE_URL: SQLite 3.34.1 is too old")
    assert on_postgresql.database_url


def test_the_library_that_runs_these_tests_is_supported():
    assert sqlite3.sqlite_version_info >= OLDEST_SQLITE
