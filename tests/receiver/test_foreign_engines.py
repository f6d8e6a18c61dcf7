"""What we set on connections we set on ours alone: a partner's own engine behaves as SQLAlchemy made it."""

import psycopg
import pytest
import sqlalchemy as sa

from receiver.registry import handles
from receiver.testing import both_databases
from receiver.worker.session import HandlerMisuse
from tests.receiver.databases import on_postgresql


@pytest.fixture
def foreign(tmp_path):
    """An engine on a file of the partner's own, made while the receiver runs."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'partner.db'}")
    yield engine
    engine.dispose()


def test_a_partners_file_keeps_the_journal_the_durability_and_the_transactions_of_sqlite(app, deliver, foreign):
    deliver()

    with foreign.connect() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "foreign_keys")]
        driver = connection.connection.driver_connection
        begun_by_reading = driver.in_transaction
        isolation = driver.isolation_level

    assert (pragmas, begun_by_reading, isolation) == (["delete", 0], False, "")


@on_postgresql
def test_a_partners_server_connection_is_psycopgs_own_with_the_servers_own_settings(app, deliver, database):
    deliver()
    engine = sa.create_engine(sa.make_url(database).set(drivername="postgresql+psycopg"))

    with engine.connect() as connection:
        kind = type(connection.connection.driver_connection)
        timeouts = [
            connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("lock_timeout", "statement_timeout")
        ]
        connection.invalidate(KeyboardInterrupt())
    engine.dispose()

    assert (kind, timeouts) == (psycopg.Connection, ["0", "0"])


def test_no_engine_but_ours_is_listened_to(app, deliver):
    deliver()
    engine = sa.create_engine("sqlite://")

    assert not any(
        getattr(engine.dispatch, name) for name in ("begin", "commit", "before_cursor_execute", "rollback", "savepoint")
    )
    assert not list(engine.pool.dispatch.invalidate)


@both_databases
def test_a_handler_commits_on_a_partners_engine_as_it_likes(deliver, work, stored, foreign):
    @handles("test.event")
    def keep_elsewhere(event, session):
        with foreign.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE seen (id TEXT)")
            connection.exec_driver_sql("INSERT INTO seen VALUES (?)", (event.id,))

    deliver("test.event", event_id="evt_1")
    work()

    with foreign.connect() as connection:
        assert connection.exec_driver_sql("SELECT id FROM seen").scalars().all() == ["evt_1"]
    assert stored("evt_1").state == "processed"


@both_databases
def test_a_handler_is_still_kept_from_ending_our_transaction(deliver, work, stored):
    @handles("test.event")
    def commit(event, session):
        session.connection().exec_driver_sql("COMMIT")

    deliver("test.event", event_id="evt_1")
    work()

    assert HandlerMisuse.__name__ in stored("evt_1").last_error
