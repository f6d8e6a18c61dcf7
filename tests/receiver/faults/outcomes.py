"""Traffic, and what must have become of it whatever broke on the way: every event exactly once."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from receiver.sandbox.sender import Answer, Sender
from receiver.store.inbox import Inbox
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing.waiting import PATIENCE_SECONDS
from tests.receiver.partner.models import ProbePayment

PAUSE_SECONDS = 0.2
RETRY_SECONDS = 0.2

Payload = dict[str, Any]


@dataclass
class Traffic:
    """What was sent so far, and every answer."""

    sent: list[Payload] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def statuses(self) -> set[int]:
        return {answer.status for answer in self.answers}


def send_all(sender: Sender, payloads: list[Payload]) -> list[Answer]:
    """Deliver each until it is acknowledged, as Senang.io would."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(until_accepted, repeat(sender), payloads))


def until_accepted(sender: Sender, payload: Payload) -> Answer:
    """Deliver until it is acknowledged, however long the receiver is away. Its sender hurries: a test waits for it."""
    pause = threading.Event()
    attempts = int(PATIENCE_SECONDS / RETRY_SECONDS)
    return sender.deliver_until_accepted(payload, attempts=attempts, wait=lambda _growing: pause.wait(RETRY_SECONDS))


@contextmanager
def traffic(payload: Callable[..., Payload], *senders: Sender, threads: int = 2) -> Iterator[Traffic]:
    """Deliver new payments for as long as the block runs, each to all the senders at once, until acknowledged."""
    flow, over = Traffic(), threading.Event()

    def keep_delivering() -> None:
        with ThreadPoolExecutor(len(senders)) as at_once:
            while not over.is_set():
                payment = payload("payment.success", transaction_id=f"TXN-{uuid4().hex}")
                flow.sent.append(payment)
                flow.answers.extend(at_once.map(until_accepted, senders, repeat(payment)))
                over.wait(PAUSE_SECONDS)

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(keep_delivering) for _ in range(threads)]
        try:
            yield flow
        finally:
            over.set()
    for thread in running:
        thread.result()


def count_events(inbox: Inbox, *conditions: sa.ColumnElement[bool]) -> int:
    with inbox.engine.connect() as connection:
        counted = sa.select(sa.func.count()).select_from(StoredEvent).where(*conditions)
        return connection.scalar(counted) or 0


def all_processed(inbox: Inbox) -> bool:
    return count_events(inbox, StoredEvent.state == "pending") == 0


def assert_exactly_once(inbox: Inbox, sent: list[Payload]) -> None:
    """Every event that was sent, and no other, is processed, had one successful attempt, and left its one effect.

    The events are payments, each of a transaction of its own.
    """
    ids = [payload["event_id"] for payload in sent]
    with inbox.engine.connect() as connection:
        states = connection.execute(sa.select(StoredEvent.event_id, StoredEvent.state)).all()
        attempts = sa.select(AuditEntry.event_id).where(AuditEntry.action == "attempt")
        successes = connection.scalars(attempts.where(AuditEntry.result == "processed")).all()
        effects = connection.scalars(sa.select(ProbePayment.event_id)).all()
    _assert_same(Counter(tuple(row) for row in states), Counter((event_id, "processed") for event_id in ids))
    _assert_same(Counter(successes), Counter(ids))
    _assert_same(Counter(effects), Counter(ids))


def _assert_same(found: Counter[Any], expected: Counter[Any]) -> None:
    assert found == expected, f"too many: {dict(found - expected)}; missing: {dict(expected - found)}"
