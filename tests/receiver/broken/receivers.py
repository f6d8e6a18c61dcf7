"""Ten ways to receive webhooks wrongly, each with the clauses that it breaks."""

import json
import threading
from collections import deque

from tests.receiver.broken.receiver import REFERENCES, Receiver


class NoSignatureCheck(Receiver):
    breaks = frozenset({"4.2", "4.4"})

    def is_authentic(self, body, headers):
        return True


class SignatureAfterParse(Receiver):
    breaks = frozenset({"4.2"})

    def receive(self, body, headers):
        event = self.parse(body)
        return ("quarantined", 200) if event is None else super().receive(json.dumps(event).encode(), headers)


class UnboundedTimestamp(Receiver):
    breaks = frozenset({"4.4"})
    tolerance = float("inf")


class NoDedupe(Receiver):
    breaks = frozenset({"7.1", "7.2", "7.3"})
    unique = ""


class DedupeBySelect(Receiver):
    """Its pause makes sure that what comes at the same moment has all looked before the first is stored."""

    breaks = frozenset({"7.3"})
    unique = ""

    def store(self, event, body):
        with self.database() as database:
            known = database.execute("SELECT 1 FROM events WHERE event_id = ?", [event["event_id"]]).fetchone()
        threading.Event().wait(0.1)
        return None if known else super().store(event, body)


class HandlerInRequest(Receiver):
    breaks = frozenset({"2.4", "3.2"})

    def store(self, event, body):
        with self.lock:
            number = super().store(event, body)
            self.process(number)


class ErrorOnBadJson(Receiver):
    breaks = frozenset({"10.1"})

    def parse(self, body):
        json.loads(body)
        return super().parse(body)


class DropsUnknownTypes(Receiver):
    breaks = frozenset({"5.2"})

    def store(self, event, body):
        if event["event_type"].partition(".")[0] in {*REFERENCES, "sandbox"}:
            super().store(event, body)


class LosesOnRestart(Receiver):
    breaks = frozenset({"2.3"})

    def __init__(self):
        super().__init__()
        self.memory = deque()

    def store(self, event, body):
        self.memory.append((event, body))

    def work(self):
        if self.memory:
            super().store(*self.memory.popleft())
        return super().work()


class AppliesOutOfOrder(Receiver):
    breaks = frozenset({"6.2"})
    newer = ""


def serve(name):
    """What gunicorn serves."""
    return globals()[name]().app()
