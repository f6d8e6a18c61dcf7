"""`worker`: processes that run handlers, and the parent that looks after them.

The parent holds no database connection while it forks. It restarts a child that died, ends its leases, kills a
child whose handler ignores its time limit, and stops with its own parent: none is left behind. Who the parent
is must be told: it may be dead before this process can ask.

The parent also writes the heartbeats of its children, since a child does nothing else while a handler runs. What a
child does beside events is upkeep: where a part of it fails, that is said, and events and the other parts go on.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import wait
from typing import Any
from uuid import uuid4

import click
import sqlalchemy as sa
import structlog
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from receiver.actions import bulk_replay
from receiver.cli.context import Amount, refuse_environment
from receiver.database.causes import cause_of
from receiver.database.engine import writing
from receiver.endless import endless
from receiver.maintenance.retention import purge_if_due
from receiver.maintenance.rollup import roll_up_if_due
from receiver.present import present_inbox
from receiver.server.start import say_doubts
from receiver.store.audit import write_finished_sums, write_remaining_sums
from receiver.store.inbox import Inbox
from receiver.store.models import Heartbeat
from receiver.store.wakeup import Listener
from receiver.worker.batch import BatchInterrupted, process_next
from receiver.worker.leases import recover
from receiver.worker.time_limit import HandBack, HandlerTimeout, TimeLimit

log = structlog.get_logger()

STOP_SECONDS = 10.0
HANDLER_STOP_SECONDS = 8.0
KILL_GRACE_SECONDS = 5.0
HEARTBEAT_SECONDS = 5.0
UPKEEP_SECONDS = 10.0
PURGE_SECONDS = 60.0
MORE_TO_PURGE_SECONDS = 2.0
TRY_AGAIN_SECONDS = 10.0
RESTART_SECONDS = 1.0
PARENT_SECONDS = 3.0
"""The parent has children to watch: it asks nothing of the database that takes longer."""
DRAIN_PATIENCE_SECONDS = 30.0
DATABASE_AWAY, DRAINED = 3, 4
"""The exit codes of a child that was to drain: it gave up, or nothing is due any more. Any other means that it died."""
_fork = multiprocessing.get_context("fork")


@click.command()
@click.option("--processes", type=click.IntRange(1, 64), help="Default: WORKER_PROCESSES.")
@click.option("--drain", is_flag=True, help="Stop when nothing is due.")
@click.option(
    "--patience",
    type=Amount(0),
    default=DRAIN_PATIENCE_SECONDS,
    show_default=True,
    help="With --drain: seconds without the database after which it fails.",
)
@click.option("--parent", type=int, hidden=True, help="Stop when this process is gone.")
@with_appcontext
def worker(processes: int | None, drain: bool, patience: float, parent: int | None) -> None:
    """Run the handlers of events that are due."""
    inbox = present_inbox()
    if parent is None:  # else gunicorn has said it
        say_doubts(inbox.settings)
    with contextlib.suppress(SQLAlchemyError):  # a database that is away now may come
        refuse_environment(inbox)
    drain_patience = patience if drain else None
    supervisor = Supervisor(
        inbox, processes or inbox.settings.worker_processes, parent or os.getppid(), drain_patience=drain_patience
    )
    supervisor.run()
    if supervisor.gave_up:
        raise click.ClickException(
            f"The database did not answer for {patience:g} seconds. What is due stays due: run this again."
        )


class Worker:
    """One process that claims, runs and settles, until it is told to stop."""

    def __init__(self, inbox: Inbox, name: str, parent: int, report: Callable[[int, float], None]) -> None:
        self.inbox, self.name, self._parent = inbox, name, parent
        self._limit = TimeLimit(report)
        self._listener = Listener(inbox.engine)
        self._begun = 0  # the row whose attempt was under way when the database was lost
        self._may_hold_leases = False
        self._upkeep_from: dict[str, float] = {}

    def run(self, *, drain_patience: float | None = None) -> bool:
        """Work until stopped, or with a `drain_patience` until nothing is due. Says whether nothing was.

        Then it raises SystemExit(DATABASE_AWAY) after so many seconds without the database.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        try:
            return self._run(drain_patience)
        except HandBack:
            return False
        finally:
            self._listener.close()
            write_remaining_sums(self.inbox)

    def _run(self, drain_patience: float | None) -> bool:
        worked_at = time.monotonic()
        while not self._limit.stopping and os.getppid() == self._parent:
            worked = self._work()
            if worked is not None:
                worked_at = time.monotonic()
            if drain_patience is not None and worked == 0:
                return True
            if drain_patience is not None and time.monotonic() - worked_at > drain_patience:
                raise SystemExit(DATABASE_AWAY)
            if not worked and not self._limit.stopping:
                self._listener.wait()
        return False

    def _work(self) -> int | None:
        """How much there was to do, or None when the database is away or something else went wrong."""
        try:
            if self.inbox.guard.refuses_now():
                return 0
            if self._may_hold_leases:
                self._now_and_then("leases", TRY_AGAIN_SECONDS, self._let_go)
            self._keep_house()
            replaying = self._now_and_then("bulk replay", 1.0, partial(bulk_replay.step, self.inbox))
            if replaying:
                self._upkeep_from["bulk replay"] = 0.0
            return process_next(self.inbox, self.name, self._limit) + bool(replaying)
        except (SQLAlchemyError, BatchInterrupted) as error:
            log.error("database_unavailable", worker=self.name, error=cause_of(error))
            self._begun = error.begun if isinstance(error, BatchInterrupted) else self._begun
        except Exception as error:  # no error of ours may end the worker
            log.error("unexpected_error", worker=self.name, exc_info=error)
        self._may_hold_leases, self._upkeep_from["leases"] = True, 0.0
        time.sleep(RESTART_SECONDS)
        return None

    def _let_go(self) -> None:
        recover(self.inbox, self.name, begun=self._begun, died=False)
        self._may_hold_leases, self._begun = False, 0

    def _keep_house(self) -> None:
        self._now_and_then("sums", UPKEEP_SECONDS, partial(roll_up_if_due, self.inbox))
        self._now_and_then("counts", UPKEEP_SECONDS, partial(write_finished_sums, self.inbox))
        if self._now_and_then("purge", PURGE_SECONDS, partial(purge_if_due, self.inbox, actor=self.name)):
            self._upkeep_from["purge"] = time.monotonic() + MORE_TO_PURGE_SECONDS

    def _now_and_then(self, name: str, seconds: float, do: Callable[[], object]) -> object:
        """Do a part of the upkeep when it is its time. None when it isn't, and when it fails."""
        if time.monotonic() < self._upkeep_from.get(name, 0.0):
            return None
        self._upkeep_from[name] = time.monotonic() + seconds
        try:
            return do()
        except Exception as error:  # whatever it is, events and the other parts go on
            log.warning("upkeep_failed", worker=self.name, part=name, error=cause_of(error))
            self._upkeep_from[name] = time.monotonic() + max(seconds, TRY_AGAIN_SECONDS)
            return None

    def _on_stop(self, _number: int, _frame: Any) -> None:
        self._limit.stop_soon(HANDLER_STOP_SECONDS)


class Watched:
    """A worker process as its parent sees it: its name, and what it reported last, in memory that both share."""

    def __init__(self, inbox: Inbox, *, drain_patience: float | None) -> None:
        self.name = f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid4().hex[:8]}"
        self._reported = _fork.Array("d", 2, lock=False)
        self.process = _fork.Process(target=self._work, args=(inbox, os.getpid(), drain_patience))
        self.process.start()

    @property
    def begun(self) -> int:
        """The row whose attempt was begun last, or 0."""
        return int(self._reported[0])

    @property
    def stuck(self) -> bool:
        """Whether a handler runs on after its time limit and a grace."""
        ends_at = float(self._reported[1])
        return bool(ends_at) and time.monotonic() > ends_at + KILL_GRACE_SECONDS

    def _work(self, inbox: Inbox, parent: int, drain_patience: float | None) -> None:
        if Worker(inbox, self.name, parent, self._report).run(drain_patience=drain_patience):
            raise SystemExit(DRAINED)

    def _report(self, inbox_id: int, ends_at: float) -> None:
        self._reported[0], self._reported[1] = inbox_id, ends_at


class Supervisor:
    """The parent of the worker processes. It `gave_up` when one that was to drain had no database for too long."""

    def __init__(self, inbox: Inbox, processes: int, parent: int, *, drain_patience: float | None = None) -> None:
        self.inbox, self.processes, self._parent = inbox, processes, parent
        self._drain_patience = drain_patience
        self._workers: list[Watched] = []
        self._stopping = self.gave_up = False
        self._limit = TimeLimit()
        self._beat_from = 0.0

    def run(self) -> None:
        """Keep the processes running until told to stop, until drained, or until the parent is gone."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        try:
            endless(self._look_after, name="worker's parent")
        finally:
            self._stop()

    def _look_after(self) -> bool:
        """Whether to go on."""
        if not self.processes or self._stopping or os.getppid() != self._parent:
            return False
        while len(self._workers) < self.processes:
            self._start()
        self._beat()
        wait([worker.process.sentinel for worker in self._workers], timeout=0.5)
        self._kill_stuck()
        self._bury_dead()
        return True

    def _start(self) -> None:
        self.inbox.engine.dispose()
        worker = Watched(self.inbox, drain_patience=self._drain_patience)
        self._workers.append(worker)
        log.info("worker_started", worker=worker.name)

    def _kill_stuck(self) -> None:
        for worker in self._workers:
            if worker.stuck:
                log.error("worker_stuck", worker=worker.name)
                worker.process.kill()
                worker.process.join()

    def _bury_dead(self) -> None:
        for worker in [w for w in self._workers if not w.process.is_alive()]:
            self._workers.remove(worker)
            if self._drain_patience is not None and worker.process.exitcode in (DRAINED, DATABASE_AWAY):
                self.gave_up |= worker.process.exitcode == DATABASE_AWAY
                self.processes -= 1
                continue
            log.error("worker_died", worker=worker.name, exit_code=worker.process.exitcode)
            self._let_go(worker)
            time.sleep(RESTART_SECONDS if worker.process.exitcode else 0)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        until = time.monotonic() + STOP_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
                self._let_go(worker)

    def _beat(self) -> None:
        if time.monotonic() >= self._beat_from:
            self._beat_from = time.monotonic() + HEARTBEAT_SECONDS
            self._ask("heartbeats_not_written", partial(_beat, self.inbox, [worker.name for worker in self._workers]))

    def _let_go(self, worker: Watched) -> None:
        """Best effort: without it the leases run out by themselves."""
        recovering = partial(recover, self.inbox, worker.name, begun=worker.begun, died=True)
        self._ask("leases_not_released", recovering)

    def _ask(self, failure: str, do: Callable[[], None]) -> None:
        """Ask something of the database, which may fail, and may not take long."""
        try:
            with self._limit.of(PARENT_SECONDS):
                do()
        except (Exception, HandlerTimeout) as error:
            log.warning(failure, error=cause_of(error))
        finally:
            self._limit.switch_off()
            self.inbox.engine.dispose()

    def _on_stop(self, _number: int, _frame: Any) -> None:
        self._stopping = True


def _beat(inbox: Inbox, names: Sequence[str]) -> None:
    """These processes live."""
    alive = sa.update(Heartbeat).where(Heartbeat.worker.in_(names)).values(seen_at=inbox.now())
    with writing(inbox.engine) as session:
        known = set(session.scalars(alive.returning(Heartbeat.worker)))
        for name in names:
            if name not in known:
                row = {"worker": name, "started_at": inbox.now(), "seen_at": inbox.now()}
                session.execute(sa.insert(Heartbeat).values(row))
