"""One of these receivers, served by gunicorn, as a target of the scenarios."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from receiver.clock import Clock
from receiver.protocol.envelope import DEFAULT_FIELDS
from receiver.protocol.schemes import SCHEMES, key_bytes
from receiver.sandbox.loopback import held_port
from receiver.sandbox.scenarios.target import Seen, Target
from receiver.sandbox.sender import Sender
from receiver.testing.waiting import eventually
from tests import inherited
from tests.receiver.broken.receiver import LARGEST_BODY, Receiver
from tests.receiver.processes import ROOT

SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_plJ3nmyCDGBKInavdOK15jsl6RuCLpGt")


@dataclass(kw_only=True)
class Served(Target):
    """It looks into the receiver's database, since it has no other way in."""

    name: str
    folder: Path
    address: str
    process: subprocess.Popen[bytes] | None = None

    def rehearsed(self, kind):
        return f"sandbox.{kind}"

    def observe(self, event_id):
        states = self._ask("SELECT state FROM events WHERE event_id = ? ORDER BY number DESC", event_id)
        effects = self._ask("SELECT 1 FROM effects WHERE event_id = ?", event_id)
        return Seen(states[0], len(effects)) if states else None

    def status_of(self, kind, reference):
        kind = {"transaction": "payment"}.get(kind, kind)
        found = self._ask("SELECT status FROM subjects WHERE kind = ? AND reference = ?", kind, reference)
        return found[0] if found else None

    def replay(self, event_id):
        self._ask("UPDATE events SET state = 'pending' WHERE event_id = ? RETURNING 1", event_id)

    def stop(self):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def start(self):
        module = f"tests.receiver.broken.receivers:serve({self.name!r})"
        options = ["--bind", self.address, "--threads", "8", "--no-control-socket", "--pythonpath", str(ROOT)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", module, *options],
            cwd=self.folder,
            env={**inherited(), "SECRETS": ",".join(SECRETS)},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._answers)

    def _answers(self):
        """Whether anybody is there; that there is no such page is an answer too."""
        assert self.process.poll() is None, "gunicorn did not start"
        return self.sender.post(f"http://{self.address}/", b"", {}).status != 0

    def _ask(self, statement, *values):
        with closing(sqlite3.connect(self.folder / "receiver.db", timeout=10)) as database, database:
            return [row[0] for row in database.execute(statement, values)]


@contextmanager
def served(receiver: type[Receiver], folder: Path) -> Iterator[Served]:
    ports = ExitStack()
    address = f"127.0.0.1:{held_port(ports)}"
    scheme, clock = SCHEMES["standard-webhooks"], Clock()
    newest, previous = (
        Sender(f"http://{address}/webhooks/senang", scheme, key_bytes(scheme, secret), clock) for secret in SECRETS
    )
    target = Served(
        sender=newest,
        previous=previous,
        fields=DEFAULT_FIELDS,
        tolerance=timedelta(minutes=5),
        largest_body=LARGEST_BODY,
        ordinary="sandbox.ordinary",
        answer_seconds=2.0,
        patience=30,
        name=receiver.__name__,
        folder=folder,
        address=address,
    )
    try:
        target.start()
        yield target
    finally:
        target.stop()
        ports.close()
