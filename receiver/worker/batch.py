"""Runs what is due. Handlers that have been quick lately share a transaction, for it is the COMMIT that costs.

Each attempt stands behind a savepoint of its own, so that one which fails undoes its own work and no other. A handler
that is slow, or that nobody knows yet, has a transaction to itself: while it dawdles, it holds no neighbour's locks.
Failed work is rolled back; the record of the failure is not.

When a shared transaction is lost as a whole (its connection, the lease of one of its events, or the database refuses to
commit it), nothing of it has happened: whoever shared it runs again, alone. The same goes for a worker that dies, whose
events are handed back.

Only a database that is out of order interrupts a batch. Whatever else a COMMIT ends in, say a deferred constraint of
the partner's own table, is the failure of the handler that wrote it. A failure that can't even be recorded is left to
its lease: the event is tried again when that has run out.
"""

from collections.abc import Sequence
from typing import Self

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from receiver.database.causes import cause_of, is_lock_conflict, is_out_of_order
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import State
from receiver.worker.attempt import Outcome, failed, run
from receiver.worker.leases import Lease, hand_back, lease_due, renew
from receiver.worker.novelty import observe
from receiver.worker.session import HandlerSession
from receiver.worker.settlement import LeaseLost, settle
from receiver.worker.time_limit import HandBack, TimeLimit

log = structlog.get_logger()

CONFLICTS_BEFORE_LOCKING = 3
SHARED_SECONDS = 0.1
"""A shared transaction that is older is committed: others wait for its locks."""
SHARED_ATTEMPTS = 64
"""PostgreSQL has as many savepoints of a session at hand; what is beyond them slows everybody down."""


class BatchInterrupted(Exception):
    """The database went away in the middle of a batch, while the attempt of the row `begun` was under way."""

    def __init__(self, begun: int) -> None:
        super().__init__("the database went away")
        self.begun = begun


class _LockConflict(Exception):
    """Another transaction was in the way of this attempt, which is undone."""


class _TransactionLost(Exception):
    """The attempt took its connection with it."""


class _Refused(Exception):
    """The database is well, and doesn't commit what was attempted."""


def process_next(inbox: Inbox, worker: str, limit: TimeLimit) -> int:
    """Lease a batch and run it. Returns how many events were leased.

    Raises HandBack when the worker has to stop, and BatchInterrupted when the database is lost on the way.
    """
    leases = [] if inbox.guard.refuses_now() else lease_due(inbox, worker)
    began_at = inbox.stopwatch()
    with Batch(inbox, limit, leases) as batch:
        try:
            for lease in leases:
                batch.attempt(lease)
            batch.commit()
        except HandBack:
            batch.finish()
            hand_back(inbox, batch.unsettled())
            raise
        except SQLAlchemyError as error:
            raise BatchInterrupted(batch.begun) from error
    inbox.paces.worked_off(len(leases), inbox.stopwatch() - began_at)
    return len(leases)


class Batch:
    """The attempts of a worker, and the transaction that some of them share at the moment."""

    def __init__(self, inbox: Inbox, limit: TimeLimit, leases: Sequence[Lease]) -> None:
        """`claims` were made just now: their leases are renewed from then on."""
        self._inbox, self._limit, self._leases = inbox, limit, leases
        self._renewed_at = inbox.stopwatch()
        self._session: HandlerSession | None = None
        self._began_at = 0.0
        self._outcomes: list[Outcome] = []
        self.begun = 0  # the row whose attempt was begun last
        self._settled: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """What is not committed by now is undone."""
        self.roll_back()
        self._limit.switch_off()

    def unsettled(self) -> list[Lease]:
        """Those of the leases that are still to be settled."""
        return [lease for lease in self._leases if lease.inbox_id not in self._settled]

    def attempt(self, lease: Lease) -> None:
        """Run the event's handler, in company when that is safe."""
        if self._leases_are_old():
            self.commit()
        if lease.attempt > 1 or not self._inbox.paces.is_quick(lease.event_type):
            self.commit()
            self.attempt_alone(lease)
            return
        try:
            if self._session is None:
                self._renew()
            self._outcomes.append(self._run(lease, "IMMEDIATE"))
        except _LockConflict:
            self.commit()
            self.attempt_alone(lease)
        except _TransactionLost as lost:
            neighbours = self.roll_back()
            self._fail(lease, lost)
            for neighbour in neighbours:
                self.attempt_alone(neighbour.lease)
        if len(self._outcomes) >= SHARED_ATTEMPTS or self._inbox.stopwatch() - self._began_at > SHARED_SECONDS:
            self.commit()

    def attempt_alone(self, lease: Lease) -> None:
        """Run it by itself, again until no lock conflict is in the way: that is nobody's failure, an endless one is."""
        for conflicts in range(2 * CONFLICTS_BEFORE_LOCKING):
            self._renew()
            try:
                self._settle(self._run(lease, "DEFERRED" if conflicts < CONFLICTS_BEFORE_LOCKING else "IMMEDIATE"))
                return
            except _LockConflict:
                self.roll_back()
            except (_TransactionLost, _Refused) as error:
                self._fail(lease, error)
                return
        self._fail(lease, TimeoutError("no end of lock conflicts"))

    def commit(self) -> None:
        """Settle what was attempted, in the transaction of the handlers' own writes."""
        try:
            self._commit()
        except (_LockConflict, _Refused):
            for neighbour in self.roll_back():
                self.attempt_alone(neighbour.lease)
        except LeaseLost as error:
            for neighbour in self.roll_back():
                if neighbour.lease.inbox_id in error.rows:
                    self._give_up(neighbour, "lease lost")
                else:
                    self.attempt_alone(neighbour.lease)

    def finish(self) -> None:
        """Settle what can be settled without running anything again."""
        try:
            self._commit()
        except (SQLAlchemyError, LeaseLost, _LockConflict, _Refused):
            self.roll_back()

    def roll_back(self) -> list[Outcome]:
        """End the transaction, if there is one. Returns the attempts that are undone with it."""
        undone, self._outcomes = self._outcomes, []
        session, self._session = self._session, None
        if session is not None:
            session.end()
        return undone

    def _leases_are_old(self) -> bool:
        """Whether they might run out during another attempt."""
        return self._inbox.stopwatch() - self._renewed_at > self._inbox.settings.handler_timeout

    def _renew(self) -> None:
        """Let no lease run out, however often an event is tried. Not while a transaction of handlers is open."""
        if self._leases_are_old():
            renew(self._inbox, self.unsettled())
            self._renewed_at = self._inbox.stopwatch()

    def _settle(self, outcome: Outcome) -> None:
        """Commit this outcome alone."""
        self._outcomes.append(outcome)
        try:
            self._commit()
        except LeaseLost:
            self.roll_back()
            self._give_up(outcome, "lease lost")

    def _fail(self, lease: Lease, error: Exception) -> None:
        """Record the failure of an attempt that is undone as a whole, in a transaction of its own."""
        outcome = failed(self._inbox, lease, error.__cause__ or error)
        for _ in range(CONFLICTS_BEFORE_LOCKING):
            self.roll_back()
            try:
                self._settle(outcome)
                return
            except _LockConflict:
                continue
            except _Refused as refused:
                log.error("outcome_not_recorded", event_id=lease.event_id, error=cause_of(refused))
                break
        self.roll_back()
        self._give_up(outcome, "not recorded")

    def _commit(self) -> None:
        outcomes = self._outcomes
        if not outcomes:
            self.roll_back()
            return
        try:
            connection = self._begin("IMMEDIATE").worker_connection
            settle(connection, self._inbox, outcomes)
            connection.commit()
        except DBAPIError as error:
            if is_lock_conflict(error):
                raise _LockConflict from error
            if is_out_of_order(error):
                raise
            raise _Refused from error
        self.roll_back()
        for outcome in outcomes:
            self._settled.add(outcome.lease.inbox_id)
            outcome.log()
        observe(self._inbox, [outcome.event for outcome in outcomes if outcome.event is not None])

    def _run(self, lease: Lease, mode: str) -> Outcome:
        """One attempt. Raises _LockConflict when it is undone, and _TransactionLost when its neighbours are too."""
        self._limit.begin(lease.inbox_id)
        self.begun = lease.inbox_id
        started = self._inbox.stopwatch()
        try:
            outcome = run(self._inbox, self._begin(mode), lease, self._limit)
        except BaseException as error:  # sys.exit() in a handler is a failure, too
            if isinstance(error, HandBack):
                raise
            if isinstance(error, DBAPIError) and is_lock_conflict(error):
                raise _LockConflict from error
            if self._session is None or self._session.worker_connection.invalidated:
                raise _TransactionLost from error
            outcome = failed(self._inbox, lease, error, since=started)
        self._inbox.paces.note(lease.event_type, self._inbox.stopwatch() - started)
        return outcome

    def _begin(self, mode: str) -> HandlerSession:
        if self._session is None:
            connection = self._inbox.engine.connect().execution_options(sqlite_begin=mode)
            try:
                connection.begin()
            except SQLAlchemyError:
                connection.close()
                raise
            self._session, self._began_at = HandlerSession(connection), self._inbox.stopwatch()
        return self._session

    def _give_up(self, outcome: Outcome, result: str) -> None:
        """Leave the event to whoever holds its lease, or is going to: nothing was changed."""
        self._settled.add(outcome.lease.inbox_id)
        outcome._replace(result=result, state=State.PENDING, failure=None).log()
