"""What one worker process does, again and again: upkeep, then a batch of events, until it is told to stop.

No error of ours ends the loop. After an error that left leases behind, the worker hands them back first.
"""

import math
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from receiver import stopping
from receiver.database.causes import cause_of
from receiver.store.audit import write_remaining_sums
from receiver.store.inbox import Inbox
from receiver.store.wakeup import Listener
from receiver.worker.batch import BatchInterrupted, process_next
from receiver.worker.leases import recover
from receiver.worker.time_limit import HandBack
from receiver.worker.upkeep import Part, Upkeep
from receiver.worker.workbench import Workbench

RESTART_SECONDS = 1.0
DATABASE_AWAY, DRAINED = 3, 4
"""The exit codes of a process that was to drain: it gave up, or nothing is due any more. Any other: it died."""
_LEASES = "leases"
log = structlog.get_logger()


class Worker:
    """One process that leases, runs and settles, until it is told to stop."""

    def __init__(self, bench: Workbench, parent: int, upkeep: Mapping[str, Part]) -> None:
        self._bench, self._inbox, self._parent = bench, bench.inbox, parent
        self._listener = Listener(self._inbox.engine)
        self._upkeep = Upkeep(self._inbox, bench.worker, {_LEASES: self._let_go, **upkeep})
        self._lost: int | None = None  # the row whose attempt was under way when the database was lost, or 0

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
            write_remaining_sums(self._inbox)
            if self._bench.tracing:
                self._bench.tracing.close()

    def _run(self, drain_patience: float | None) -> bool:
        worked_at = time.monotonic()
        while not self._bench.limit.stopping and os.getppid() == self._parent:
            worked = self._work()
            if worked is not None:
                worked_at = time.monotonic()
            if drain_patience is not None and worked is False:
                return True
            if drain_patience is not None and time.monotonic() - worked_at > drain_patience:
                raise SystemExit(DATABASE_AWAY)
            if not worked and not self._bench.limit.stopping:
                self._listener.wait()
        return False

    def _work(self) -> bool | None:
        """Whether there was something to do. None when the database is away or something else went wrong."""
        try:
            if self._inbox.guard.refuses_now():
                return False
            has_more = self._upkeep.take_turns()
            return bool(process_next(self._bench)) or has_more
        except (SQLAlchemyError, BatchInterrupted) as error:
            log.error("database_unavailable", worker=self._bench.worker, error=cause_of(error))
            self._lost = error.begun if isinstance(error, BatchInterrupted) else self._lost or 0
        except Exception as error:
            log.error("unexpected_error", worker=self._bench.worker, exc_info=error)
            self._lost = self._lost or 0
        self._upkeep.bring_forward(_LEASES)
        time.sleep(RESTART_SECONDS)
        return None

    def _let_go(self, inbox: Inbox, worker: str) -> float:
        """Hand back what this worker may still hold."""
        if self._lost is not None:
            recover(inbox, worker, begun=self._lost, died=False)
            self._bench.lost_leases.again()
            self._lost = None
        return math.inf

    def _on_stop(self, _number: int, _frame: Any) -> None:
        self._bench.limit.stop_soon(self._inbox.settings.stop_seconds * stopping.HANDLERS)
