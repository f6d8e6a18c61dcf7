"""What a web process needs beside the inbox: two committers, the threads that store the rest, and its counters.

What it stores goes by connections of its own (receiver/settings/budget.py): pages can't take them.
It is made at the first need, so after gunicorn has forked, and by no command.
"""

from collections.abc import Callable
from typing import cast

from flask import Flask, current_app
from sqlalchemy.engine import Engine

from receiver.database.engine import is_pooled
from receiver.ingest.arrivals import Arrival
from receiver.ingest.arrivals_sqlite import SqliteArrivals
from receiver.ingest.group_commit import GroupCommit, Store
from receiver.ingest.redeliveries import Redeliveries
from receiver.ingest.storing import Storing
from receiver.lines import Lines
from receiver.metrics import note_waiting
from receiver.store.audit import write_remaining_sums
from receiver.store.inbox import Inbox
from receiver.store.latency import Latencies
from receiver.store.secrets import SecretsInUse
from receiver.tracing import tracing_of


class Intake:
    """The intake of one process. Nothing is connected and no thread runs before something is to be stored."""

    def __init__(self, inbox: Inbox) -> None:
        connections = inbox.settings.share.deliveries
        self.inbox = inbox.apart(connections)
        patience, counts = inbox.settings.delivery_seconds, bool(inbox.settings.metrics_token)
        self.committer = GroupCommit(
            arrival_store(self.inbox),
            patience=patience,
            say_waiting=note_waiting if counts else None,  # or nobody could read it
        )
        self.redeliveries = GroupCommit(Redeliveries(self.inbox), patience=patience)
        self.storing = Storing(threads=connections)
        self.latencies = Latencies()
        self.secrets = SecretsInUse(inbox.settings)
        self.lines = Lines(inbox.clock)
        self.tracing = tracing_of(inbox.settings)

    def close(self) -> None:
        """Store what waits, and give all connections up. The app's inbox stays open."""
        self.storing.close()
        self.redeliveries.close()
        self.committer.close()
        self.inbox.close()
        if self.tracing:
            self.tracing.close()

    def write_remaining(self) -> None:
        """Write every count that is still in memory: the process is about to end."""
        write_remaining_sums(self.inbox)
        self.lines.write_remaining()
        self.latencies.write(self.inbox.engine)
        self.secrets.write(self.inbox.engine, self.inbox.clock.now())


def arrival_store(inbox: Inbox) -> Store[Arrival]:
    """What writes new events to this database."""
    engine, settings = inbox.engine, inbox.settings
    return _kind_of_store(engine)(engine, inbox.clock, settings.environment, settings.payload_keys[0].id)


def _kind_of_store(engine: Engine) -> Callable[..., Store[Arrival]]:
    if engine.dialect.name != "postgresql":
        return SqliteArrivals
    # It loads psycopg, which only a process needs whose database is PostgreSQL.
    from receiver.ingest.arrivals_postgresql import PooledArrivals, PostgresqlArrivals

    return PooledArrivals if is_pooled(engine) else PostgresqlArrivals


def intake_of(app: Flask) -> Intake:
    """The intake of the app."""
    intake = app.extensions.get("intake") or app.extensions.setdefault("intake", Intake(app.extensions["inbox"]))
    return cast(Intake, intake)


def present_intake() -> Intake:
    """The intake of the app that serves the request."""
    return intake_of(current_app)


def close_all(app: Flask) -> None:
    """Store what waits, and give up every connection of the app."""
    if "intake" in app.extensions:
        app.extensions["intake"].close()
    app.extensions["inbox"].close()
