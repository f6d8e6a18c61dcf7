"""The database misbehaves: each fault has its stated outcome, and nothing is lost."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa

from receiver.config import DELIVERY_SECONDS
from receiver.ingest.captures import open_window
from receiver.registry import handles
from receiver.sandbox.sender import Sender
from receiver.store.models import StoredEvent
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.receiver.databases import on_own_postgresql, on_postgresql, postgresql_and_sqlite_in_long_runs
from tests.receiver.partner.models import ProbePayment
from tests.receiver.processes import running, within


@on_postgresql
@pytest.mark.parametrize("delivery_seconds", [DELIVERY_SECONDS])
def test_a_locked_table_is_answered_503_within_three_seconds_and_the_retry_is_accepted(deliver, inbox):
    with inbox.engine.begin() as connection:
        connection.execute(sa.text("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
        refused = within(3, lambda: deliver(event_id="evt_1"))

    assert refused.status == 503
    assert deliver(event_id="evt_1").status == 200


@on_postgresql
@pytest.mark.parametrize("delivery_seconds", [DELIVERY_SECONDS])
def test_a_refused_delivery_is_answered_within_three_seconds_though_each_of_its_steps_has_to_wait(inbox, app):
    open_window(inbox, minutes=10, count=20, actor="test")
    client = app.test_client()
    with inbox.engine.begin() as connection:
        for table in ("capture_window", "captured_deliveries", "audit_log"):
            connection.execute(sa.text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        refused = within(3, lambda: client.post("/webhooks/senang", data=b"{}"))

    assert refused.status_code == 401


@on_postgresql
def test_connections_that_were_ended_while_they_were_idle_cost_no_delivery(deliver, inbox):
    first = [deliver(event_id="evt_1"), deliver(event_id="evt_1")]

    end_all_connections(inbox)
    new = deliver(event_id="evt_2")
    end_all_connections(inbox)
    known = deliver(event_id="evt_1")

    assert [answer.json["status"] for answer in (*first, new, known)] == [
        "accepted",
        "duplicate",
        "accepted",
        "duplicate",
    ]


def end_all_connections(inbox):
    """As a restart of the server does, or a pooler with idle connections."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(inbox.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)) as own:
        own.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {others}")


@on_postgresql
def test_a_connection_that_is_cut_during_a_handler_undoes_its_writes_and_the_event_is_tried_again(
    deliver, work, inbox, stored, session, clock
):
    cut = []

    @handles("test.event")
    def cut_once(event, handler_session):
        handler_session.execute(
            sa.insert(ProbePayment).values(
                reference="half", status="x", rank=0, occurred_at=event.occurred_at, event_id=event.id
            )
        )
        if not cut:
            cut.append(handler_session.scalar(sa.text("SELECT pg_backend_pid()")))
            with inbox.engine.connect() as other:
                other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": cut[0]})
            handler_session.scalar(sa.text("SELECT 1"))

    deliver("test.event", event_id="evt_1")
    work()
    after_the_cut = stored("evt_1").state
    clock.advance(hours=2)
    work()

    assert (after_the_cut, stored("evt_1").state) == ("pending", "processed")
    assert session.get(ProbePayment, "half").event_id == "evt_1"


@postgresql_and_sqlite_in_long_runs
def test_a_stopped_worker_that_wakes_up_after_its_lease_changes_nothing(database, environment, inbox, payload):
    settings = environment | {"DATABASE_URL": database, "LOG_LEVEL": "ERROR", "EMBEDDED_WORKER": "0"}
    with running(settings, HANDLER_TIMEOUT="5", WORKER_BATCH="1") as receiver:
        receiver.web()
        worker = receiver.worker()
        sender = Sender(receiver.url, inbox.settings.scheme, inbox.settings.signature_keys[0], inbox.clock)
        sender.deliver(payload(event_id="before"))
        eventually(lambda: _state(inbox, "before") == "processed")

        with inbox.engine.execution_options(sqlite_begin="IMMEDIATE").begin():  # or it may sleep with SQLite's lock
            os.killpg(worker.pid, signal.SIGSTOP)
        sender.deliver(payload(event_id="during"))
        receiver.flask("worker", "--drain")
        finished = _finished(inbox, "during")
        os.killpg(worker.pid, signal.SIGCONT)
        sender.deliver(payload(event_id="after"))
        eventually(lambda: _state(inbox, "after") == "processed")

    assert _finished(inbox, "during") == finished is not None


@postgresql_and_sqlite_in_long_runs
def test_sigterm_lets_the_worker_finish_and_leaves_no_claim_behind(database, environment, inbox, payload):
    settings = environment | {"DATABASE_URL": database, "LOG_LEVEL": "ERROR", "EMBEDDED_WORKER": "0"}
    with running(settings) as receiver:
        receiver.web()
        sender = Sender(receiver.url, inbox.settings.scheme, inbox.settings.signature_keys[0], inbox.clock)
        for number in range(50):
            sender.deliver(payload(event_id=f"evt_{number}"))
        worker = receiver.worker()
        eventually(lambda: _state(inbox, "evt_0") == "processed")

        worker.terminate()

        assert worker.wait(PATIENCE_SECONDS) == 0
    with inbox.engine.connect() as connection:
        held = sa.select(sa.func.count()).select_from(StoredEvent).where(StoredEvent.lease_token.is_not(None))
        assert connection.scalar(held) == 0


@on_postgresql
def test_the_procfile_runs_as_a_platform_runs_it(database, environment, inbox, payload):
    heroku = {
        "DATABASE_URL": database.replace("postgresql://", "postgres://"),
        "DYNO": "web.1",
        "WEB_CONCURRENCY": "2",
        "GUNICORN_CMD_ARGS": "--access-logfile -",
    }
    with running(environment | heroku, LOG_LEVEL="ERROR") as receiver:
        receiver.flask("db", "upgrade")
        receiver.start("-m", "gunicorn", "wsgi:app")
        sender = Sender(receiver.url, inbox.settings.scheme, inbox.settings.signature_keys[0], inbox.clock)
        eventually(lambda: receiver.answers("/readyz"))
        sent = payload(event_id="evt_1")
        plain = sender.deliver(sent)
        through_router = _through_a_router(sender).deliver(sent)
        eventually(lambda: _state(inbox, "evt_1") == "processed")

    assert (plain.status, through_router.status) == (403, 200)


def _through_a_router(sender):
    post = sender.post
    sender.post = lambda url, body, headers: post(url, body, {**headers, "X-Forwarded-Proto": "https"})
    return sender


def _state(inbox, event_id):
    with inbox.engine.connect() as connection:
        return connection.scalar(sa.select(StoredEvent.state).where(StoredEvent.event_id == event_id))


def _finished(inbox, event_id):
    with inbox.engine.connect() as connection:
        return connection.scalar(sa.select(StoredEvent.finished_at).where(StoredEvent.event_id == event_id))


@on_own_postgresql
def test_a_database_that_hangs_keeps_neither_the_sender_nor_anybody_else_waiting(database, environment, inbox, payload):
    settings = environment | {"DATABASE_URL": database, "EMBEDDED_WORKER": "0", "WEB_CONCURRENCY": "1"}
    with running(settings) as receiver:
        receiver.web()
        sender = receiver.sender(inbox)
        sender.deliver(payload())
        with inbox.engine.connect() as connection:
            others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            backends = connection.scalars(sa.text(others)).all()
        for backend in backends:
            os.kill(backend, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(1) as pool:
                delivery = pool.submit(sender.deliver, payload())
                alive = receiver.answers("/healthz")
                refused = delivery.result()
        finally:
            for backend in backends:
                os.kill(backend, signal.SIGCONT)

        assert (alive, refused.status, refused.seconds < 3) == (True, 503, True)
        eventually(lambda: sender.deliver(payload()).status == 200)
