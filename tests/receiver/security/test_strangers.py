"""A stranger without a key costs no more than a glance: signed deliveries go on beside every attack (§2.4, §3.2).

What is sent stands in attacks.py. It runs beside deliveries at a steady pace, against real gunicorn. The same
deliveries without it, just before, say what this machine can do at the moment.
"""

import hashlib
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from receiver.actions import users as accounts
from receiver.clock import Clock
from receiver.config import load_settings
from receiver.ingest import captures
from receiver.protocol.envelope import DEFAULT_FIELDS
from receiver.sandbox.samples import sample
from receiver.sandbox.sender import Answer, Sender, post_over_http
from receiver.testing import both_databases
from tests.receiver.processes import Receiver, running
from tests.receiver.security.attacks import ATTACKS, Browser, beside, memory_of
from tests.receiver.settings import ENVIRONMENT

PACE_SECONDS = 0.05
TRIES = 3
"""A busy machine is late now and then. Whoever is held up by an attack is late each time."""
MOST_TIMES_SLOWER, MOST_TIMES_LARGER = 5, 2
ENOUGH_WHILE_QUIET = 200
FLOOR_SECONDS = 1.0
"""It says nothing about speed: a quiet machine needs a twentieth of it, and an attack that works costs seconds."""
PASSWORD = "correct horse battery"


@dataclass
class Measured:
    """What became of deliveries at a steady pace, and the bytes that the receiver held at most meanwhile."""

    answers: list[Answer]
    memory: int

    @property
    def refused(self) -> list[int]:
        return [answer.status for answer in self.answers if answer.status != 200]

    @property
    def p99(self) -> float:
        seconds = sorted(answer.seconds for answer in self.answers)
        return seconds[math.ceil(0.99 * len(seconds)) - 1]


@dataclass
class Target:
    """A receiver, and a sender that has its key."""

    receiver: Receiver
    sender: Sender

    def measured(self, deliveries: int) -> Measured:
        """Deliver so many events."""
        pace, found = threading.Event(), Measured([], 0)
        for _ in range(deliveries):
            found.answers.append(
                self.sender.deliver(sample("payment.success", fields=DEFAULT_FIELDS, now=Clock().now()))
            )
            found.memory = max(found.memory, memory_of(self.receiver))
            pace.wait(PACE_SECONDS)
        return found


@contextmanager
def started(database, **settings):
    environment = (
        ENVIRONMENT | {"FORWARDED_FOR_HOPS": "1", "WEB_CONCURRENCY": "1"} | settings | {"DATABASE_URL": database}
    )
    known = load_settings(environment)
    with running(environment) as receiver:
        receiver.web()
        yield Target(receiver, Sender(receiver.url, known.scheme, known.signature_keys[0], Clock()))


def assert_unmoved(target, names, *, connections, deliveries):
    """Beside these attacks no delivery is refused, none is much slower, and the receiver does not grow much."""
    for _ in range(TRIES):
        quiet = target.measured(min(deliveries, ENOUGH_WHILE_QUIET))
        with beside(target.receiver.port, names, connections):
            attacked = target.measured(deliveries)
        slowest = max(FLOOR_SECONDS, MOST_TIMES_SLOWER * quiet.p99)
        most = MOST_TIMES_LARGER * quiet.memory
        if not attacked.refused and attacked.p99 <= slowest and attacked.memory <= most:
            return
    pytest.fail(
        f"refused: {attacked.refused}, p99: {quiet.p99:.3f} s, then {attacked.p99:.3f} s, "
        f"memory: {quiet.memory >> 20} MiB, then {attacked.memory >> 20} MiB"
    )


@pytest.fixture
def target(database):
    with started(database) as target:
        yield target


def test_signed_deliveries_go_on_beside_every_attack_at_once(target):
    assert_unmoved(target, sorted(ATTACKS), connections=16, deliveries=60)


@pytest.mark.soak
@both_databases
def test_signed_deliveries_go_on_beside_every_attack_at_once_for_a_minute(target):
    assert_unmoved(target, sorted(ATTACKS), connections=16, deliveries=1200)


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_signed_deliveries_go_on_beside_one_attack(database, name):
    with started(database, **ATTACKS[name].settings) as target:
        assert_unmoved(target, [name], connections=4, deliveries=60)


@pytest.mark.soak
def test_signed_deliveries_go_on_beside_a_diagnosis_that_takes_long(target, inbox):
    receiver = target.receiver
    accounts.add(inbox, "siti", PASSWORD, role="operator", actor="test")
    captures.open_window(inbox, minutes=10, count=20, actor="test")
    hashes = {f"h{number:04}": hashlib.sha512(b"%d" % number).hexdigest() for number in range(1500)}
    assert post_over_http(receiver.url, json.dumps(hashes).encode(), {}).status == 401

    quiet = target.measured(20)
    with Browser(receiver.port) as browser, ThreadPoolExecutor() as pool:
        browser.sign_in("siti", PASSWORD, "192.0.2.1")
        asked = pool.submit(browser.get, "/captures/1")
        attacked = target.measured(20)
        page = asked.result()

    assert "combinations tried" in page
    assert not attacked.refused
    assert attacked.p99 <= max(FLOOR_SECONDS, MOST_TIMES_SLOWER * quiet.p99)
