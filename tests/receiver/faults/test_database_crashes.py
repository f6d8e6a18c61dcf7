"""PostgreSQL crashes under load, again and again: what was acknowledged is there, and nothing is done twice."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import sqlalchemy as sa

from receiver.store.models import StoredEvent
from receiver.testing.waiting import eventually
from tests.receiver.databases import on_own_postgresql
from tests.receiver.faults.outcomes import all_processed
from tests.receiver.partner.models import ProbePayment
from tests.receiver.processes import running

SENDERS = 16
ACKNOWLEDGED_BETWEEN_CRASHES = 100


@pytest.fixture
def receiver(database, environment):
    """Two web processes, two worker processes."""
    settings = environment | {"DATABASE_URL": database, "EMBEDDED_WORKER": "0", "LOG_LEVEL": "ERROR"}
    with running(settings, WEB_CONCURRENCY="2") as receiver:
        receiver.web()
        receiver.worker("--processes", "2")
        yield receiver


@pytest.fixture
def acknowledged(receiver, inbox, payload):
    """The IDs that were acknowledged so far, while sixteen senders deliver new events without a pause."""
    ids, over, sender = [], threading.Event(), receiver.sender(inbox)

    def keep_delivering():
        while not over.is_set():
            sent = payload("payment.success", transaction_id=f"TXN-{uuid4().hex}")
            if sender.deliver(sent).status == 200:
                ids.append(sent["event_id"])

    with ThreadPoolExecutor(SENDERS) as pool:
        senders = [pool.submit(keep_delivering) for _ in range(SENDERS)]
        yield ids, over
        over.set()
    for future in senders:
        future.result()


def crash_under_load(own_postgres, acknowledged, inbox, *, times):
    ids, over = acknowledged
    for _ in range(times):
        enough = len(ids) + ACKNOWLEDGED_BETWEEN_CRASHES
        eventually(lambda enough=enough: len(ids) >= enough)
        own_postgres.kill()
        own_postgres.start()
    over.set()
    inbox.engine.dispose()

    eventually(lambda: all_processed(inbox))
    with inbox.engine.connect() as connection:
        stored = set(connection.scalars(sa.select(StoredEvent.event_id)))
        effects = Counter(connection.scalars(sa.select(ProbePayment.event_id)))
    assert set(ids) - stored == set()
    assert effects == Counter(stored)


@on_own_postgresql
def test_a_database_that_crashes_under_load_loses_no_acknowledged_event(own_postgres, acknowledged, inbox):
    crash_under_load(own_postgres, acknowledged, inbox, times=2)


@pytest.mark.soak
@on_own_postgresql
def test_a_database_that_crashes_twenty_times_under_load_loses_no_acknowledged_event(own_postgres, acknowledged, inbox):
    crash_under_load(own_postgres, acknowledged, inbox, times=20)
