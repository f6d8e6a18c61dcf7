"""The disk is full: nothing that was acknowledged is lost, and the receiver recovers as soon as there is room.

PostgreSQL's disk is filled without mounting one: its processes ignore SIGXFSZ, so a file that reaches their limit
(RLIMIT_FSIZE) refuses to grow, just as on a full disk. The limit is larger than a segment of the write-ahead log,
because PostgreSQL rightly stops altogether when it can't write its log.
"""

import json
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from receiver.privacy.sealing import unseal
from tests.receiver.databases import on_own_postgresql

MIB = 2**20
ROOM = 24 * MIB  # a segment of the write-ahead log is 16 MiB


@contextmanager
def full_disk(server, engine):
    """No file of the server's grows beyond `ROOM`."""
    server.limit_files(ROOM)
    engine.dispose()
    try:
        yield
    finally:
        server.limit_files(None)
        engine.dispose()


@pytest.fixture
def large_bodies(payload):
    """More than the disk takes. They are sealed before they are stored, so no compression makes them small."""
    payloads = [payload(event_id=f"evt_{n}", data={"filler": "x" * (MIB - 1000)}) for n in range(2 * ROOM // MIB)]
    return [json.dumps(large).encode() for large in payloads]


def deliver_until_refused(sender, bodies):
    """What was acknowledged, what was not, and the answer to the latter."""
    for number, body in enumerate(bodies):
        answer = sender.deliver(body)
        if answer.status != 200:
            return bodies[:number], body, answer
    raise AssertionError("there was room for everything")


@on_own_postgresql
def test_a_full_disk_under_postgresql_is_answered_503_and_nothing_acknowledged_is_lost(
    own_postgres, inbox, sender, large_bodies, stored
):
    with full_disk(own_postgres, inbox.engine):
        acknowledged, refused, answer = deliver_until_refused(sender, large_bodies)

    retried = sender.deliver_until_accepted(refused)

    assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    assert (retried.status, retried.json["status"]) == (200, "accepted")
    for body in [*acknowledged, refused]:
        row = stored(json.loads(body)["event_id"])
        assert unseal(row.sealed_payload, row=row.seal_id, keys=inbox.settings.payload_keys) == body


def test_a_full_disk_is_answered_503_and_once_there_is_room_the_retry_is_accepted(deliver, intake):
    engine = intake.inbox.engine  # the deliveries' own
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    limit = f"PRAGMA max_page_count={pages}"
    listener = lambda connection, *_: connection.execute(limit)  # noqa: E731 - removed again by identity
    engine.dispose()
    sa.event.listen(engine, "connect", listener)
    answers = [deliver(event_id=f"evt_{n}", data={"filler": "x" * 20_000}).status for n in range(5)]

    sa.event.remove(engine, "connect", listener)
    engine.dispose()

    assert 503 in answers
    assert deliver(event_id="evt_after").status == 200
