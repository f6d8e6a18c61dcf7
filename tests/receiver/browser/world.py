"""A receiver as operators find it in the morning: a day of events in every state, and two people who may sign in.

The day is delivered through the front door, to an app in this process whose clock stands back; then real gunicorns
serve the same SQLite file: over plain HTTP, over their own TLS, and behind an nginx that terminates TLS.
What a test delivers goes over the network. To have another event in the day, add it to
`_day()`.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from flask import Flask
from flask_migrate import upgrade

from receiver import create_app
from receiver.actions import bulk
from receiver.clock import Clock
from receiver.config import load_settings
from receiver.database.engine import reading
from receiver.ingest.intake import close_all, intake_of
from receiver.maintenance.rollup import roll_up_if_due
from receiver.protocol.schemes import key_bytes, scheme_from
from receiver.sandbox.samples import TYPES, sample
from receiver.sandbox.sender import Answer, Sender
from receiver.store.inbox import Inbox
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import insert_user
from receiver.testing.certificates import self_signed
from receiver.testing.waiting import eventually
from receiver.worker.batch import process_next
from receiver.worker.workbench import Workbench
from tests.receiver import routers
from tests.receiver.people import SUBJECTS
from tests.receiver.processes import Receiver, listens, running
from tests.receiver.routers import Front
from tests.receiver.settings import ENVIRONMENT

USERS = {"operator": "siti", "viewer": "devi"}
STORY = "POL-204518"
"""The policy with a story: bought, issued, claimed on, cancelled, and one event that came late."""


class Ways:
    """The ways over TLS to one database. Each begins with the first who comes on it."""

    def __init__(self, folder: Path, environment: dict[str, str], stack: ExitStack) -> None:
        self._folder, self._environment, self._stack = folder, environment, stack
        self._certificate = self_signed(folder)
        self._addresses: dict[str, str] = {}

    def address(self, way: str) -> str:
        if way not in self._addresses:
            start = {"tls": self._gunicorns_own, "nginx": self._nginx, "nginx without Host": self._nginx_without_host}
            self._addresses[way] = f"https://127.0.0.1:{start[way]()}"
        return self._addresses[way]

    def _gunicorns_own(self) -> int:
        certificate, key = map(str, self._certificate)
        return self._gunicorn(TLS_CERTFILE=certificate, TLS_KEYFILE=key)

    def _nginx(self, *, with_host: bool = True) -> int:
        upstream = self._gunicorn(FORWARDED_FOR_HOPS="1", FORWARDED_PROTO_HOPS="1")
        folder = self._folder / f"nginx-{upstream}"
        front = Front(with_host=with_host)
        return self._stack.enter_context(routers.running(front, folder, upstream, self._certificate)).port

    def _nginx_without_host(self) -> int:
        return self._nginx(with_host=False)

    def _gunicorn(self, **settings: str) -> int:
        """The port of a receiver that demands HTTPS, as `live` does."""
        receiver = self._stack.enter_context(
            running(self._environment, EMBEDDED_WORKER="0", REQUIRE_HTTPS="1", **settings)
        )
        process = receiver.start("-m", "gunicorn", "wsgi:app")
        eventually(lambda: process.poll() is not None or listens(receiver.port))
        return receiver.port


class World:
    """The receiver that the browser visits, and the way in for what happens elsewhere meanwhile."""

    def __init__(self, app: Flask, receiver: Receiver, ways: Ways) -> None:
        self.app, self.receiver, self.ways = app, receiver, ways
        self.inbox: Inbox = app.extensions["inbox"]
        self.bench = Workbench(self.inbox, "the worker")
        self.url = f"http://127.0.0.1:{receiver.port}"
        self.sender = receiver.sender(self.inbox)

    def address(self, way: str) -> str:
        """Where the receiver is for whoever comes on this way."""
        return self.url if way == "plain" else self.ways.address(way)

    def deliver(self, event_type: str = "payment.success", **changes: Any) -> dict[str, Any]:
        """Deliver an event, signed; what was sent."""
        payload = self.payload(event_type, **changes)
        assert self.sender.deliver(payload).status == 200
        return payload

    def payload(self, event_type: str = "payment.success", **changes: Any) -> dict[str, Any]:
        return sample(event_type, fields=self.inbox.settings.payload_fields, now=self.inbox.clock.now(), **changes)

    def work(self) -> None:
        """What a worker does, until nothing is due and no bulk replay is left."""
        while bulk.step(self.inbox) or process_next(self.bench):
            pass

    def dead(self, **changes: Any) -> dict[str, Any]:
        """An event that is dead: its handler misses the policy."""
        payload = self.deliver("policy.issued", policy_id=None, **changes)
        self.work()
        return payload

    def processed(self, event_type: str = "payment.success", **changes: Any) -> dict[str, Any]:
        payload = self.deliver(event_type, **changes)
        self.work()
        return payload

    def sender_of_another_scheme(self) -> Sender:
        """Somebody with the right secret who signs as GitHub does: what the doctor is for."""
        scheme = scheme_from("github", {})
        key = key_bytes(scheme, self.inbox.settings.webhook_secrets[0])
        return Sender(self.sender.url, scheme, key, self.inbox.clock)

    def stored(self, event_id: str) -> StoredEvent:
        with reading(self.inbox.engine) as session:
            return session.scalars(sa.select(StoredEvent).where(StoredEvent.event_id == event_id)).one()

    def first(self, *, state: str, **columns: Any) -> StoredEvent:
        """The newest event in the state."""
        with reading(self.inbox.engine) as session:
            newest_first = sa.select(StoredEvent).order_by(StoredEvent.received_at.desc(), StoredEvent.id.desc())
            return session.scalars(newest_first.filter_by(state=state, **columns).limit(1)).one()

    def counts(self) -> dict[str, int]:
        """How many events each state has."""
        with reading(self.inbox.engine) as session:
            found = session.execute(sa.select(StoredEvent.state, sa.func.count()).group_by(StoredEvent.state))
            return dict(iter(found))

    def shown(self, text: str) -> str:
        """What people see of an ID."""
        return self.inbox.settings.showing(text)

    def names(self) -> list[str]:
        """What the list calls every event, newest first."""
        with reading(self.inbox.engine) as session:
            newest_first = sa.select(StoredEvent).order_by(StoredEvent.received_at.desc(), StoredEvent.id.desc())
            rows = [(row.event_id or row.stated_event_id, row.id) for row in session.scalars(newest_first)]
        return [self.shown(name) if name else f"#{number}" for name, number in rows]

    def audited(self, action: str, event_id: str | None = None) -> list[str]:
        """The results of an action in the audit log, of one event or of all."""
        statement = sa.select(AuditEntry.result).where(AuditEntry.action == action).order_by(AuditEntry.id)
        if event_id:
            statement = statement.where(AuditEntry.event_id == event_id)
        with reading(self.inbox.engine) as session:
            return list(session.scalars(statement))


@contextmanager
def world(folder: Path, *, with_a_day: bool = True, busy: int = 1) -> Iterator[World]:
    """A world of one's own, its database in the folder. `busy`: how many times as much happens in its day."""
    environment = ENVIRONMENT | {
        "ALERT_URLS": "json://127.0.0.1:9/",  # nobody listens; and no worker of its own runs
        "SENANG_PARTNER_ID": "P-1042",
        "DATABASE_URL": f"sqlite:///{folder / 'receiver.db'}",
        "LOG_LEVEL": "ERROR",
        **SUBJECTS,
    }
    app = create_app(load_settings(environment), Clock())
    with app.app_context():
        upgrade(revision="heads")
    for role, name in USERS.items():
        insert_user(app.extensions["inbox"], name, role)
    if with_a_day:
        _live_a_day(app, busy)
    with running(environment, EMBEDDED_WORKER="0") as receiver, ExitStack() as stack:
        receiver.web()
        yield World(app, receiver, Ways(folder, environment, stack))
    close_all(app)


def _live_a_day(app: Flask, busy: int) -> None:
    """Everything of the day, at its hour, each event worked on at once."""
    inbox: Inbox = app.extensions["inbox"]
    client = app.test_client()

    def post(url: str, body: bytes, headers: Any) -> Answer:
        response = client.post(url, data=body, headers=dict(headers))
        return Answer(response.status_code, response.get_data(as_text=True), dict(response.headers))

    sender = Sender("/webhooks/senang", inbox.settings.scheme, inbox.settings.signature_keys[0], inbox.clock, post)
    stranger = Sender(sender.url, sender.scheme, b"not the secret at all, not the secret", inbox.clock, post)
    late = Sender(sender.url, sender.scheme, sender.key, Clock(), post)
    day, bench = list(_day(inbox, busy)), Workbench(inbox, "the worker")
    for number, (who, body) in enumerate(day):
        inbox.clock.offset = -timedelta(hours=23) * (len(day) - number) / len(day)
        late.clock.offset = inbox.clock.offset - timedelta(minutes=12)
        {"senang": sender, "stranger": stranger, "late": late}[who].deliver(body() if callable(body) else body)
        while process_next(bench):
            pass
    inbox.clock.offset = timedelta()
    roll_up_if_due(inbox)
    intake_of(app).latencies.write(inbox.engine)


def _day(inbox: Inbox, busy: int) -> Iterator[tuple[str, Any]]:
    """Who delivers what, in order."""

    def event(event_type: str, minutes_ago: int = 0, **changes: Any) -> Any:
        def body() -> dict[str, Any]:
            now = inbox.clock.now() - timedelta(minutes=minutes_ago)
            return sample(event_type, fields=inbox.settings.payload_fields, now=now, **changes)

        return body

    story = {"policy_id": STORY, "transaction_id": "TXN-204518"}
    yield "senang", event("payment.success", **story)
    yield "senang", event("policy.issued", **story)
    for number in range(40 * busy):
        yield "senang", event(TYPES[number * 5 % len(TYPES)])
        if number % 7 == 3:
            yield "stranger", event("payment.success")
        if number % 11 == 5:
            yield "senang", event("quotation.expired")
    yield "senang", event("claim.submitted", claim_id="CLM-7781", **story)
    yield "senang", event("claim.updated", claim_id="CLM-7781", **story)
    yield "senang", event("policy.issued", policy_id=None)
    yield "senang", b'{"id": "evt_without_a_type", "note": "neither type nor time"}'
    yield "senang", b"not JSON at all"
    yield "late", event("payment.failed")
    yield "senang", event("policy.cancelled", **story)
    yield "senang", event("payment.failed", minutes_ago=1400, **story)
    twice = f"evt_{uuid4().hex}"
    yield "senang", event("refund.processed", event_id=twice, transaction_id="TXN-204518")
    yield "senang", event("refund.processed", event_id=twice, transaction_id="TXN-999999")
    yield "senang", event("claim.submitted", claim_id=None)
    yield "senang", json.dumps({"data": {"nested": {"deeply": [1, 2, {"very": True}]}}}).encode()
    for number in range(6):
        yield "senang", event(TYPES[number])
