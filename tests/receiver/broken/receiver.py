"""A whole receiver in one class, with nothing of ours in it: the right one, for the ten to break.

It keeps its events in `receiver.db` of the folder that it is started in. Its two secrets are in SECRETS.
"""

import base64
import hmac
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from flask import Flask, request

LARGEST_BODY = 100_000
REFERENCES = {
    "policy": "policy_id",
    "payment": "transaction_id",
    "refund": "transaction_id",
    "claim": "claim_id",
    "account": "event_type",
}
SCHEMA = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, event_id TEXT {unique}, body BLOB, state TEXT);
    CREATE TABLE IF NOT EXISTS unusable (body BLOB);
    CREATE TABLE IF NOT EXISTS effects (event_id TEXT);
    CREATE TABLE IF NOT EXISTS subjects (kind TEXT, reference TEXT, status TEXT, at TEXT, UNIQUE (kind, reference));
"""


class Receiver:
    """Authentic, then durable, then 200; a thread does the rest."""

    breaks: frozenset[str] = frozenset()  # the clauses that a receiver does not keep
    tolerance = 300.0
    unique = "UNIQUE"
    newer = "WHERE excluded.at > at"

    def __init__(self) -> None:
        self.keys = [base64.b64decode(text.removeprefix("whsec_")) for text in os.environ["SECRETS"].split(",")]
        self.lock = threading.RLock()
        self.failed: set[str] = set()
        with self.database() as database:
            database.executescript(SCHEMA.format(unique=self.unique))

    def receive(self, body: bytes, headers) -> tuple[str, int]:
        if len(body) > LARGEST_BODY:
            return "too large", 413
        if not self.is_authentic(body, headers):
            return "not authentic", 401
        event = self.parse(body)
        if event is None:
            with self.database() as database:
                database.execute("INSERT INTO unusable VALUES (?)", [body])
            return "quarantined", 200
        self.store(event, body)
        return "accepted", 200

    def is_authentic(self, body: bytes, headers) -> bool:
        moment = headers.get("webhook-timestamp", "")
        content = f"{headers.get('webhook-id')}.{moment}.".encode() + body
        right = [b"v1," + base64.b64encode(hmac.digest(key, content, "sha256")) for key in self.keys]
        given = headers.get("webhook-signature", "").encode()
        is_timely = moment.isdigit() and abs(time.time() - int(moment)) <= self.tolerance
        return is_timely and any(hmac.compare_digest(given, signature) for signature in right)

    def parse(self, body: bytes) -> dict | None:
        with suppress(ValueError, RecursionError):
            event = json.loads(body)
            if isinstance(event, dict) and all(isinstance(event.get(name), str) for name in ("event_id", "event_type")):
                return event
        return None

    def store(self, event: dict, body: bytes) -> int | None:
        """The number of the new event; None when it is known already."""
        insert = "INSERT OR IGNORE INTO events (event_id, body, state) VALUES (?, ?, 'pending') RETURNING number"
        with self.database() as database:
            row = database.execute(insert, [event["event_id"], body]).fetchone()
        return None if row is None else row[0]

    def work(self) -> bool:
        """Process the oldest event that waits."""
        with self.database() as database:
            row = database.execute("SELECT min(number) FROM events WHERE state = 'pending'").fetchone()
        with suppress(RuntimeError):
            self.process(row[0])
        return row[0] is not None

    def process(self, number: int) -> None:
        """Its effects and its new state: one transaction. Raises RuntimeError when its handler fails."""
        with self.lock, self.database() as database:
            row = database.execute(
                "SELECT body FROM events WHERE number = ? AND state = 'pending'", [number]
            ).fetchone()
            if row is None:
                return
            try:
                state = self.handle(json.loads(row[0]), database)
            except RuntimeError:
                database.execute("UPDATE events SET state = 'dead' WHERE number = ?", [number])
                database.commit()
                raise
            database.execute("UPDATE events SET state = ? WHERE number = ?", [state, number])

    def handle(self, event: dict, database: sqlite3.Connection) -> str:
        kind = event["event_type"].partition(".")[0]
        if event["event_type"] == "sandbox.slow":
            threading.Event().wait(event["data"]["seconds"])
        elif event["event_type"] == "sandbox.failing" and event["event_id"] not in self.failed:
            self.failed.add(event["event_id"])
            raise RuntimeError("it fails on purpose")
        elif kind in REFERENCES:
            self.apply(kind, event, database)
        elif kind != "sandbox":
            return "unhandled"
        database.execute("INSERT INTO effects VALUES (?)", [event["event_id"]])
        return "processed"

    def apply(self, kind: str, event: dict, database: sqlite3.Connection) -> None:
        database.execute(
            "INSERT INTO subjects VALUES (?, ?, ?, ?) ON CONFLICT (kind, reference)"
            f" DO UPDATE SET status = excluded.status, at = excluded.at {self.newer}",
            [kind, event[REFERENCES[kind]], event["event_type"], event["timestamp"]],
        )

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        connection = sqlite3.connect("receiver.db", timeout=10)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def app(self) -> Flask:
        app = Flask("receiver")
        app.post("/webhooks/senang")(lambda: self.receive(request.get_data(), request.headers))
        threading.Thread(target=self._work_on, daemon=True).start()
        return app

    def _work_on(self) -> None:
        pause = threading.Event()
        while True:
            if not self.work():
                pause.wait(0.02)
