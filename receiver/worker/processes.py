"""`worker`: processes that run handlers, and the parent that looks after them.

The parent holds no database connection while it forks. It restarts a child that died, and ends its leases. It kills a
child whose handler ignores its time limit. When its own parent is gone, it stops, so no process is left behind. The ID
of its own parent is an argument, because that parent may be dead before this process can ask.

The parent also writes the heartbeats of its children: while a handler runs, a child can do nothing else. loop.py has
what a child does.
"""

import gc
import mmap
import multiprocessing
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import wait
from typing import Any
from uuid import uuid4

import structlog

from receiver import stopping
from receiver.database.causes import cause_of
from receiver.database.engine import writing
from receiver.database.insert import insert_into
from receiver.endless import endless
from receiver.store.inbox import Inbox
from receiver.store.models import Heartbeat
from receiver.tracing import tracing_of
from receiver.worker.lanes import Lane
from receiver.worker.leases import recover
from receiver.worker.loop import DATABASE_AWAY, DRAINED, RESTART_SECONDS, Worker
from receiver.worker.time_limit import HandlerTimeout, TimeLimit
from receiver.worker.upkeep import Part
from receiver.worker.workbench import Workbench

log = structlog.get_logger()

KILL_GRACE_SECONDS = 5.0
HEARTBEAT_SECONDS = 5.0
PARENT_SECONDS = 3.0
"""The parent has children to watch: it asks nothing of the database that takes longer."""
_fork = multiprocessing.get_context("fork")


class Watched:
    """A worker process as its parent sees it: its name, and what it reported last, in memory that both share."""

    def __init__(self, inbox: Inbox, lane: Lane, upkeep: Mapping[str, Part], *, drain_patience: float | None) -> None:
        self.name = f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid4().hex[:8]}"
        self.lane = lane
        self._reported = memoryview(mmap.mmap(-1, 2 * 8)).cast("d")  # needs no /dev/shm, which a platform may not have
        self.process = _fork.Process(target=self._work, args=(inbox, os.getpid(), upkeep, drain_patience))
        self.process.start()

    @property
    def begun(self) -> int:
        """The row whose attempt was begun last, or 0."""
        return int(self._reported[0])

    @property
    def running(self) -> int | None:
        """The row whose handler runs now."""
        return int(self._reported[0]) if self._reported[1] else None

    @property
    def stuck(self) -> bool:
        """Whether a handler runs on after its time limit and a grace."""
        ends_at = float(self._reported[1])
        return bool(ends_at) and time.monotonic() > ends_at + KILL_GRACE_SECONDS

    def _work(self, inbox: Inbox, parent: int, upkeep: Mapping[str, Part], drain_patience: float | None) -> None:
        tracing = tracing_of(inbox.settings)
        bench = Workbench(inbox, self.name, TimeLimit(self._report), lane=self.lane, tracing=tracing)
        if Worker(bench, parent, upkeep).run(drain_patience=drain_patience):
            raise SystemExit(DRAINED)

    def _report(self, inbox_id: int, ends_at: float) -> None:
        self._reported[0], self._reported[1] = inbox_id, ends_at


class Supervisor:
    """The parent of the worker processes. It `gave_up` when one that was to drain had no database for too long."""

    def __init__(
        self,
        inbox: Inbox,
        lanes: Sequence[Lane],
        parent: int,
        *,
        upkeep: Mapping[str, Part],
        drain_patience: float | None = None,
    ) -> None:
        self.inbox, self._lanes, self._parent = inbox, list(lanes), parent
        self._upkeep, self._drain_patience = upkeep, drain_patience
        self._workers: list[Watched] = []
        self._stopping = self.gave_up = False
        self._limit = TimeLimit()
        self._beat_from = 0.0

    def run(self) -> None:
        """Keep the processes running until told to stop, until drained, or until the parent is gone."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        gc.freeze()  # what is loaded stays for good, and stays shared with the processes where nothing touches it
        try:
            endless(self._look_after, name="worker's parent")
        finally:
            self._stop()

    def _look_after(self) -> bool:
        """Whether to go on."""
        if not self._lanes or self._stopping or os.getppid() != self._parent:
            return False
        missing = Counter(self._lanes) - Counter(worker.lane for worker in self._workers)
        for lane in missing.elements():
            self._start(lane)
        self._beat()
        wait([worker.process.sentinel for worker in self._workers], timeout=0.5)
        self._kill_stuck()
        self._bury_dead()
        return True

    def _start(self, lane: Lane) -> None:
        self.inbox.engine.dispose()
        worker = Watched(self.inbox, lane, self._upkeep, drain_patience=self._drain_patience)
        self._workers.append(worker)
        log.info("worker_started", worker=worker.name, runs=lane.value)

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
                self._lanes.remove(worker.lane)
                continue
            log.error("worker_died", worker=worker.name, exit_code=worker.process.exitcode)
            self._let_go(worker)
            time.sleep(RESTART_SECONDS if worker.process.exitcode else 0)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        until = time.monotonic() + self.inbox.settings.stop_seconds * stopping.WORKERS
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
                self._let_go(worker)

    def _beat(self) -> None:
        if time.monotonic() >= self._beat_from:
            self._beat_from = time.monotonic() + HEARTBEAT_SECONDS
            self._ask("heartbeats_not_written", partial(_beat, self.inbox, self._workers))

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
            self.inbox.engine.dispose()

    def _on_stop(self, _number: int, _frame: Any) -> None:
        self._stopping = True


def _beat(inbox: Inbox, workers: Sequence[Watched]) -> None:
    """These processes live, and run this."""
    with writing(inbox.engine) as session:
        for worker in workers:
            row = {"worker": worker.name, "runs": worker.lane.value, "running": worker.running}
            insert = insert_into(Heartbeat, inbox.engine.dialect.name)
            insert = insert.values(**row, started_at=inbox.now(), seen_at=inbox.now())
            alive = {"seen_at": insert.excluded.seen_at, "running": insert.excluded.running}
            session.execute(insert.on_conflict_do_update(index_elements=["worker"], set_=alive))
