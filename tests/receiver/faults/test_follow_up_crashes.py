"""Crashes amid handlers and follow-ups: each event has its effect once, and each follow-up arrives at the other side.

It may arrive twice, since nobody can commit and send a letter at once. Its idempotency key is then the same.
"""

import os
import random
import signal
from collections import Counter
from contextlib import suppress
from datetime import datetime

import pytest
import sqlalchemy as sa

from receiver.database.engine import writing
from receiver.store.models import StoredEvent
from receiver.testing.waiting import eventually
from tests.receiver.databases import on_own_postgresql, on_postgresql, postgresql_and_sqlite_in_long_runs
from tests.receiver.faults.outcomes import all_processed, until_accepted
from tests.receiver.partner.models import ProbePayment
from tests.receiver.processes import running, workers_of

AT_ONCE = 4
"""Events for each kill."""


@pytest.fixture
def settings(environment, database, mail_server, other_system):
    """Of a receiver whose follow-ups write letters and make calls."""
    own = {"DATABASE_URL": database, "PROBE_MAIL": mail_server.url, "PROBE_SYSTEM": other_system.url}
    return environment | own | {"EMBEDDED_WORKER": "0", "LOG_LEVEL": "ERROR", "MAX_ATTEMPTS": "50"}


@pytest.fixture
def processed_by_now(inbox):
    """Whether nothing is pending any more."""
    return lambda: all_processed(inbox)


def kill_a_child(parent):
    """One of the processes that run events or take deliveries. Its parent starts another one."""
    found = eventually_some(lambda: workers_of(parent.pid))
    with suppress(ProcessLookupError):
        os.kill(random.choice(found), signal.SIGKILL)


def eventually_some(find):
    found = []
    eventually(lambda: found.extend(find()) or found)
    return found


def deliver_and_kill(receiver, inbox, payload, *, kills, between=lambda _number: None):
    """Deliver events all the time. Every few of them a worker is killed, at times a web process. Returns the IDs."""
    sender, worker, web, sent = receiver.sender(inbox), receiver.worker(), receiver.web("--workers", "2"), []
    for number in range(kills):
        for _ in range(AT_ONCE):
            sent.append(payload("probe.told", transaction_id=f"TXN-{len(sent)}"))
            until_accepted(sender, sent[-1])
        kill_a_child(worker)
        if number % 5 == 2:
            kill_a_child(web)
        between(number)
    return [each["event_id"] for each in sent]


def make_due(inbox):
    """What a killed worker had under way is put off: nobody has to wait for that here."""
    with writing(inbox.engine) as session:
        session.execute(
            sa.update(StoredEvent)
            .where(
                StoredEvent.state == "pending", StoredEvent.lease_token.is_not(None), StoredEvent.leased_by.is_(None)
            )
            .values(lease_until=inbox.now(plus=-1), due_at=inbox.now(plus=-1))
        )


def assert_nothing_is_lost(inbox, ids, mail_server, other_system):
    eventually(lambda: make_due(inbox) or all_processed(inbox))
    with inbox.engine.connect() as connection:
        effects = Counter(connection.scalars(sa.select(ProbePayment.event_id)))
        columns = (StoredEvent.id, StoredEvent.event_id, StoredEvent.event_type, StoredEvent.caused_by)
        rows = connection.execute(sa.select(*columns)).all()
    asked = {kind: {row.event_id for row in rows if row.event_type == kind} for kind in ("probe.write", "probe.call")}
    causes = Counter(row.caused_by for row in rows if row.caused_by)
    assert effects == Counter(ids)
    assert causes == {row.id: 2 for row in rows if row.event_type == "probe.told"}
    assert {message["Message-ID"][1:].partition("@")[0] for message in mail_server.messages} == asked["probe.write"]
    assert {call.headers["idempotency-key"] for call in other_system.calls} == asked["probe.call"]
    assert {message["Subject"] for message in mail_server.messages} == set(ids)


@postgresql_and_sqlite_in_long_runs
@pytest.mark.parametrize("kills", [3, pytest.param(60, marks=pytest.mark.soak)])
def test_workers_that_are_killed_amid_handlers_and_follow_ups_lose_none(
    settings, inbox, payload, mail_server, other_system, kills
):
    with running(settings) as receiver:
        ids = deliver_and_kill(receiver, inbox, payload, kills=kills)

        assert_nothing_is_lost(inbox, ids, mail_server, other_system)


@pytest.mark.soak
@on_own_postgresql
def test_neither_does_a_database_that_crashes_between(
    settings, inbox, payload, mail_server, other_system, own_postgres
):
    def crash(number):
        if number % 10 == 9:
            own_postgres.kill()
            own_postgres.start()

    with running(settings) as receiver:
        ids = deliver_and_kill(receiver, inbox, payload, kills=30, between=crash)
        inbox.engine.dispose()

        assert_nothing_is_lost(inbox, ids, mail_server, other_system)


@pytest.mark.soak
@on_postgresql
def test_while_two_hundred_calls_take_a_second_each_no_transaction_stays_open(
    settings, inbox, payload, other_system, processed_by_now
):
    other_system.seconds = 1.0
    idle = sa.text(
        "SELECT pid, state_change, extract(epoch FROM clock_timestamp() - state_change) FROM pg_stat_activity"
        " WHERE state LIKE 'idle in transaction%' AND datname = current_database()"
    )
    seen = dict[tuple[int, datetime], float]()
    with running(settings) as receiver:
        receiver.web()
        sender = receiver.sender(inbox)
        for number in range(200):
            until_accepted(sender, payload("probe.told", transaction_id=f"TXN-{number}"))
        receiver.worker("--processes", "8")

        with inbox.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not processed_by_now():
                seen |= {(pid, since): float(seconds) for pid, since, seconds in connection.execute(idle)}

    as_long_as_a_call = [seconds for seconds in seen.values() if seconds > 0.9 * other_system.seconds]
    print(f"of {len(seen):,} idle transactions the longest: {max(seen.values(), default=0.0):.3f} s")
    assert len(other_system.calls) == 200
    assert len(as_long_as_a_call) < 10  # a busy machine may hold up one or two; a call in a transaction would be 200
