"""`worker`: processes that run handlers, and the parent that looks after them.

The parent holds no database connection while it forks. It restarts a child that died, ends its leases, kills a
child whose handler ignores its time limit, and stops with its own parent: none is left behind. Who the parent
is must be told: it may be dead before this process can ask.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any
from uuid import uuid4

import click
import sqlalchemy as sa
import structlog
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from app.cli.context import present_inbox
from app.database import cause_of, writing
from app.inbox import bulk_replay
from app.inbox.audit import write_finished_sums, write_remaining_sums
from app.inbox.claims import recover
from app.inbox.context import Inbox
from app.inbox.models import Heartbeat
from app.inbox.pace import OnceASecond
from app.inbox.retention import purge_if_due
from app.inbox.rollup import roll_up_if_due
from app.inbox.time_limit import HandBack, TimeLimit
from app.inbox.wakeup import Listener
from app.inbox.work import BatchInterrupted, process_next

log = structlog.get_logger()

STOP_SECONDS = 10.0
HANDLER_STOP_SECONDS = 8.0
KILL_GRACE_SECONDS = 5.0
HEARTBEAT_SECONDS = 10.0
RESTART_SECONDS = 1.0
_fork = multiprocessing.get_context("fork")


@click.command()
@click.option("--processes", type=click.IntRange(1, 64), help="Default: WORKER_PROCESSES.")
@click.option("--drain", is_flag=True, help="Stop when nothing is due.")
@click.option("--parent", type=int, hidden=True, help="Stop when this process is gone.")
@with_appcontext
def worker(processes: int | None, drain: bool, parent: int | None) -> None:
    """Run the handlers of events that are due."""
    inbox = present_inbox()
    Supervisor(inbox, processes or inbox.settings.worker_processes, parent or os.getppid(), drain=drain).run()


class Worker:
    """One process that claims, runs and settles, until it is told to stop."""

    def __init__(self, inbox: Inbox, name: str, parent: int, report: Callable[[int, float], None]) -> None:
        self.inbox, self.name, self._parent = inbox, name, parent
        self._limit = TimeLimit(report)
        self._listener = Listener(inbox.engine)
        self._lost_database, self._begun = False, 0
        self._beat_at = self._purge_at = 0.0
        self._replays = OnceASecond()

    def run(self, *, drain: bool = False) -> None:
        """Work until stopped, or with `drain` until nothing is due."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        with contextlib.suppress(HandBack):
            while not self._limit.stopping and os.getppid() == self._parent:
                worked = self._work()
                if drain and worked == 0:
                    break
                if not worked and not self._limit.stopping:
                    self._listener.wait()
        self._listener.close()
        write_remaining_sums(self.inbox)

    def _work(self) -> int | None:
        try:
            if self._lost_database:
                recover(self.inbox, self.name, begun=self._begun, died=False)
                self._lost_database, self._begun = False, 0
            self._keep_house()
            replaying = bulk_replay.step(self.inbox) if self._replays.is_due(self.inbox.clock.now()) else 0
            if replaying:
                self._replays.again()
            return process_next(self.inbox, self.name, self._limit) + replaying
        except (SQLAlchemyError, BatchInterrupted) as error:
            log.error("database_unavailable", worker=self.name, error=cause_of(error))
            self._lost_database = True
            self._begun = error.begun if isinstance(error, BatchInterrupted) else self._begun
            time.sleep(RESTART_SECONDS)
            return None

    def _keep_house(self) -> None:
        now = time.monotonic()
        if now - self._beat_at > HEARTBEAT_SECONDS or not self._beat_at:
            self._beat_at = now
            _beat(self.inbox, self.name)
            roll_up_if_due(self.inbox)
            write_finished_sums(self.inbox)
        if now - self._purge_at > HEARTBEAT_SECONDS * 6 or not self._purge_at:
            self._purge_at = now
            purge_if_due(self.inbox, actor=self.name)

    def _on_stop(self, _number: int, _frame: Any) -> None:
        self._limit.stop_soon(HANDLER_STOP_SECONDS)


class Watched:
    """A worker process as its parent sees it: its name, and what it reported last, in memory that both share."""

    def __init__(self, inbox: Inbox, *, drain: bool) -> None:
        self.name = f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid4().hex[:8]}"
        self._reported = _fork.Array("d", 2, lock=False)
        self.process = _fork.Process(target=self._work, args=(inbox, os.getpid(), drain))
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

    def _work(self, inbox: Inbox, parent: int, drain: bool) -> None:
        Worker(inbox, self.name, parent, self._report).run(drain=drain)

    def _report(self, inbox_id: int, ends_at: float) -> None:
        self._reported[0], self._reported[1] = inbox_id, ends_at


class Supervisor:
    """The parent of the worker processes."""

    def __init__(self, inbox: Inbox, processes: int, parent: int, *, drain: bool = False) -> None:
        self.inbox, self.processes, self._parent, self._drain = inbox, processes, parent, drain
        self._workers: list[Watched] = []
        self._stopping = False

    def run(self) -> None:
        """Keep the processes running until told to stop, until drained, or until the parent is gone."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        while self.processes and not self._stopping and os.getppid() == self._parent:
            while len(self._workers) < self.processes:
                self._start()
            wait([worker.process.sentinel for worker in self._workers], timeout=0.5)
            self._kill_stuck()
            self._bury_dead()
        self._stop()

    def _start(self) -> None:
        self.inbox.engine.dispose()
        worker = Watched(self.inbox, drain=self._drain)
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
            if self._drain and worker.process.exitcode == 0:
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

    def _let_go(self, worker: Watched) -> None:
        """Best effort: without it the leases run out by themselves."""
        try:
            recover(self.inbox, worker.name, begun=worker.begun, died=True)
        except SQLAlchemyError as error:
            log.warning("leases_not_released", worker=worker.name, error=cause_of(error))
        finally:
            self.inbox.engine.dispose()

    def _on_stop(self, _number: int, _frame: Any) -> None:
        self._stopping = True


def _beat(inbox: Inbox, name: str) -> None:
    with writing(inbox.engine) as session:
        seen = session.execute(
            sa.update(Heartbeat).where(Heartbeat.worker == name).values(seen_at=inbox.now()).returning(Heartbeat.worker)
        ).all()
        if not seen:
            session.execute(sa.insert(Heartbeat).values(worker=name, started_at=inbox.now(), seen_at=inbox.now()))
