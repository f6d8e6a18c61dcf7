"""A copy of this receiver that lives as long as a run of `senang scenarios`: real processes, nothing that lasts.

It has this installation's settings and handlers, but secrets, a database and a port of its own. Handlers run for
real: what they do outside the database, they do.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import click
import sqlalchemy as sa

from receiver.actions.replay import replay
from receiver.cli.throwaway_database import FROM_WHEEL, throwaway_database
from receiver.cli.throwaway_environment import throwaway_environment
from receiver.clock import Clock
from receiver.config import Settings, load_settings
from receiver.database.engine import make_engine, reading
from receiver.database.url import ROOT
from receiver.queries.audit_trail import find_event
from receiver.registry import Describer, describers_of
from receiver.sandbox.loopback import held_port, is_ready
from receiver.sandbox.samples import own_samples
from receiver.sandbox.scenarios.target import Seen, Target
from receiver.sandbox.sender import Sender
from receiver.store.applied import InForce
from receiver.store.inbox import Inbox
from receiver.store.models import AuditEntry
from receiver.store.shown import shown_part

START_SECONDS = 120  # on a busy machine too; a process that ends is noticed at once
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def throwaway(settings: Settings, postgres: str | None) -> Iterator[Target]:
    """A running copy, on SQLite unless `postgres` says where (see `throwaway_database()`). It ends with the block."""
    with (
        _ended_by_signals(),
        ExitStack() as ports,
        TemporaryDirectory(prefix="senang-scenarios-", ignore_cleanup_errors=True) as folder,
        throwaway_database(Path(folder), postgres) as url,
    ):
        copy = _copy(settings, url, held_port(ports), Path(folder) / "log")
        try:
            copy.migrate("upgrade")
            copy.start()
            yield copy
        finally:
            for number in ENDING:
                signal.signal(number, signal.SIG_IGN)
            copy.stop()
            copy.inbox.engine.dispose()
            if postgres not in (None, FROM_WHEEL):
                copy.migrate("downgrade", "base")


@dataclass(kw_only=True, repr=False)
class Throwaway(Target):
    """The copy's processes, and a look into its database."""

    inbox: Inbox
    environment: dict[str, str]
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def rehearsed(self, kind: Literal["slow", "failing"]) -> str:
        return f"sandbox.{kind}"

    def observe(self, event_id: str) -> Seen | None:
        committed = sa.select(sa.func.count()).where(
            AuditEntry.event_id == event_id, AuditEntry.action == "attempt", AuditEntry.result == "processed"
        )
        with reading(self.inbox.engine) as session:
            row = find_event(session, event_id)
            return None if row is None else Seen(row.state, session.scalar(committed) or 0, row.last_error)

    def status_of(self, kind: str, reference: str) -> str | None:
        """What the partner's describers call `status` (receiver/registry.py). There may be none."""
        described = (
            shown_part(title, partial(self._ask, describer, reference)) for title, describer in describers_of(kind)
        )
        statuses = [row["status"] for row in described if isinstance(row, Mapping) and row.get("status") is not None]
        return ", ".join(map(str, statuses)) or None

    def _ask(self, describer: Describer, reference: str) -> object:
        with reading(self.inbox.engine) as session:
            return describer(session, reference)

    def replay(self, event_id: str) -> None:
        with reading(self.inbox.engine) as session:
            row = find_event(session, event_id)
        if row is not None:
            replay(self.inbox, row.id, actor="senang scenarios")

    def migrate(self, *direction: str) -> None:
        """Build the schema, as a deploy does, or take it down."""
        self._run("flask", "--app", "wsgi", "db", *direction)
        if self.processes[-1].wait() != 0:
            raise self._broken("could not be migrated")
        self.stop()

    def start(self) -> None:
        address = self.sender.url.removesuffix("/webhooks/senang")
        self._run("gunicorn", "wsgi:app", "--bind", address.removeprefix("http://"))
        self._run("flask", "--app", "receiver.sandbox.rehearsal", "worker", "--parent", str(os.getpid()))
        until = time.monotonic() + START_SECONDS
        while not is_ready(address):
            if time.monotonic() > until or any(process.poll() is not None for process in self.processes):
                raise self._broken("did not start")
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill the processes and their children."""
        while self.processes:
            process = self.processes[-1]
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.processes.pop()

    def _run(self, *module: str) -> None:
        """Start a Python module in a session of its own, so that Ctrl-C reaches only us, who end it in order."""
        command = [sys.executable, "-m", *module]
        with self.log.open("ab") as log:
            self.processes.append(
                subprocess.Popen(  # noqa: S603 - no part of it is input
                    command,
                    cwd=ROOT,
                    env=self.environment,
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def _broken(self, what: str) -> click.ClickException:
        return click.ClickException(f"The throwaway copy {what}.\n{self.log.read_text()[-4000:]}")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """When this process is stopped, or its terminal closes, the copy ends too. Its last steps can't be stopped."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _copy(partners: Settings, database_url: str, port: int, log: Path) -> Throwaway:
    environment = throwaway_environment(partners) | {"DATABASE_URL": database_url, "PORT": str(port)}
    settings = load_settings(environment)
    clock = Clock()
    newest, previous = (
        Sender(f"http://127.0.0.1:{port}/webhooks/senang", settings.scheme, key, clock)
        for key in settings.signature_keys
    )
    return Throwaway(
        sender=newest,
        previous=previous,
        fields=settings.payload_fields,
        tolerance=settings.timestamp_tolerance,
        largest_body=settings.max_body_bytes,
        ordinary="sandbox.ordinary",
        samples=own_samples(settings.partner_package),
        patience=settings.handler_timeout + 60,  # longer than the lease of a worker that was killed
        inbox=Inbox(make_engine(settings.database_url), InForce(settings), clock),
        environment=environment,
        log=log,
    )
