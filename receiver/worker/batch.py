"""Runs what is due: lease → open → run → settle. Quick handlers share a transaction, because a COMMIT costs most.

    lease    leases.py       which events this worker runs, by a COMMIT of its own
    open     attempt.py      the event in clear text
    run      attempt.py      its handler, in the transaction
    settle   settlement.py   outcomes and audit rows, in the COMMIT of what the handlers wrote

Failed work is rolled back; the record of the failure is not: it has a transaction of its own. A shared transaction is
rolled back as a whole: when one of its handlers fails, its connection is lost, an event's lease is lost, or the
database refuses to commit. Then nothing of it has happened, and each of its other events runs again, alone. When a
worker dies, its events are handed back.

A handler that is slow, still unknown or failed lately has a transaction to itself: while it runs, it holds no
neighbour's locks, and no neighbour runs twice.

Only a database that is out of order interrupts a batch. If a COMMIT fails for another reason, such as a deferred
constraint of the partner's own table, that is the failure of the handler that wrote the rows. If even the failure can't
be recorded, the event stays leased, and is tried again when its lease has ended.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Self

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from receiver.database.causes import cause_of, is_lock_conflict, is_out_of_order
from receiver.registry import turn_of
from receiver.store.lifecycle import State
from receiver.worker.attempt import Opened, Outcome, failed, follow, follower_of, open_event, run
from receiver.worker.leases import Lease, hand_back, lease_due, renew
from receiver.worker.session import HandlerSession
from receiver.worker.settlement import LeaseLost, settle
from receiver.worker.time_limit import HandBack
from receiver.worker.workbench import Workbench

log = structlog.get_logger()

CONFLICTS_BEFORE_LOCKING = 3
MOST_SECONDS = 5.0
"""A batch that takes longer hands the rest of its leases back: its handlers became slow, and others may be free."""
SHARED_SECONDS = 0.1
"""A shared transaction that is older is committed: others wait for its locks."""


class BatchInterrupted(Exception):
    """The database went away in the middle of a batch, while the attempt of the row `begun` was under way."""

    def __init__(self, begun: int) -> None:
        super().__init__("the database went away")
        self.begun = begun


class _LockConflict(Exception):
    """Another transaction was in the way."""


class _Failed(Exception):
    """The attempt failed. Its cause says why."""


class _Refused(Exception):
    """The database works, but it refuses to commit what the attempt wrote."""


def process_next(bench: Workbench) -> int:
    """Lease a batch and run it. Returns how many events were leased.

    Raises HandBack when the worker has to stop, and BatchInterrupted when the database is lost on the way.
    """
    began_at = bench.stopwatch()
    bench.inbox.look_for_applied()
    leases = [] if bench.inbox.guard.refuses_now() else lease_due(bench)
    with Batch(bench, leases) as batch:
        try:
            for lease in sorted(leases, key=attrgetter("is_follow_up")):  # each of these ends a shared transaction
                batch.attempt(lease)
                if bench.stopwatch() - began_at > MOST_SECONDS:
                    break
            batch.commit()
            rest = batch.unsettled()
            if rest:
                hand_back(bench.inbox, rest, is_audited=False)
        except HandBack:
            batch.finish()
            hand_back(bench.inbox, batch.unsettled())
            raise
        except SQLAlchemyError as error:
            raise BatchInterrupted(batch.begun) from error
    if leases:
        bench.paces.note_batch(len(leases) - len(rest), bench.stopwatch() - began_at)
    return len(leases)


class Batch:
    """The attempts of a worker, and the transaction that some of them share at the moment."""

    def __init__(self, bench: Workbench, leases: Sequence[Lease]) -> None:
        """`leases` were taken just now: they are renewed when they grow old."""
        self._bench, self._inbox, self._leases = bench, bench.inbox, leases
        self._renewed_at = bench.stopwatch()
        self._session: HandlerSession | None = None
        self._session_began_at = 0.0
        self._outcomes: list[Outcome] = []
        self.begun = 0  # the row whose attempt was begun last
        self._begun_at = 0.0
        self._settled: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """What is not committed by now is undone."""
        self.roll_back()

    def unsettled(self) -> list[Lease]:
        """The leases that are still to be settled."""
        return [lease for lease in self._leases if lease.inbox_id not in self._settled]

    def attempt(self, lease: Lease) -> None:
        """Open the event and run its handler: in a shared transaction when that is safe, or alone."""
        goes_outside = follower_of(self._inbox.settings, lease) is not None
        is_alone = goes_outside or lease.attempt > 1 or turn_of(lease.event_type) is not None
        may_share = not is_alone and self._bench.paces.is_quick(lease.event_type)
        if not may_share or self._leases_are_old():
            self.commit()
        self._begin_attempt(lease)
        try:
            opened = open_event(self._inbox.settings, lease)
        except Exception as error:  # one bad row stops no other
            self.commit()
            self._fail(lease, None, error)
            return
        if goes_outside:
            self._attempt_outside(opened)
        elif may_share:
            self._attempt_shared(opened)
        else:
            self._attempt_alone(opened)

    def commit(self) -> None:
        """Settle what was attempted, in the transaction of the handlers' own writes."""
        try:
            self._commit()
        except (_LockConflict, _Refused):
            self._run_again(self.roll_back())
        except LeaseLost as error:
            undone = self.roll_back()
            for outcome in undone:
                if outcome.lease.inbox_id in error.rows:
                    self._give_up(outcome, "lease lost")
            self._run_again([outcome for outcome in undone if outcome.lease.inbox_id not in error.rows])

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

    def _attempt_shared(self, opened: Opened) -> None:
        """Run it in the shared transaction, which is committed when it is full or old."""
        try:
            if self._session is None:
                self._renew()
            self._outcomes.append(self._run(opened, "IMMEDIATE"))
        except _LockConflict:
            self._run_again(self.roll_back())
            self._attempt_alone(opened)
        except _Failed as error:
            undone = self.roll_back()
            self._fail(opened.lease, opened, error)
            self._run_again(undone)
        if self._bench.stopwatch() - self._session_began_at > SHARED_SECONDS:
            self.commit()

    def _attempt_alone(self, opened: Opened) -> None:
        """Run it in a transaction of its own, and again after a lock conflict. Too many conflicts are a failure."""
        locks_after = 0 if turn_of(opened.event.type) else CONFLICTS_BEFORE_LOCKING
        for conflicts in range(2 * CONFLICTS_BEFORE_LOCKING):
            self._renew()
            self._begin_attempt(opened.lease)
            try:
                self._settle(self._run(opened, "DEFERRED" if conflicts < locks_after else "IMMEDIATE"))
                return
            except _LockConflict:
                self.roll_back()
            except (_Failed, _Refused) as error:
                self._fail(opened.lease, opened, error)
                return
        self._fail(opened.lease, opened, TimeoutError("no end of lock conflicts"))

    def _attempt_outside(self, opened: Opened) -> None:
        """Do a follow-up: no transaction is open while it talks to others. What came of it is committed afterwards."""
        self._renew()
        try:
            outcome = follow(self._bench, opened, since=self._begun_at)
        except HandBack:
            raise
        except BaseException as error:  # sys.exit() is a failure, too
            outcome = failed(self._bench, opened.lease, opened, error, since=self._begun_at)
        self._record(outcome)

    def _run_again(self, undone: Sequence[Outcome]) -> None:
        """Run each of these alone: the transaction that they shared was lost."""
        for outcome in undone:
            if outcome.opened:
                self._attempt_alone(outcome.opened)

    def _begin_attempt(self, lease: Lease) -> None:
        """Raises HandBack when the worker has to stop."""
        self._bench.limit.begin(lease.inbox_id)
        self.begun, self._begun_at = lease.inbox_id, self._bench.stopwatch()

    def _run(self, opened: Opened, mode: str) -> Outcome:
        """Raises _LockConflict or _Failed: the transaction is to be rolled back."""
        paces, event_type = self._bench.paces, opened.lease.event_type
        try:
            outcome = run(self._bench, self._begin(mode), opened, since=self._begun_at)
        except HandBack:
            self.roll_back()  # half of its work is in the transaction that it shares
            raise
        except BaseException as error:  # sys.exit() in a handler is a failure, too
            if isinstance(error, DBAPIError) and is_lock_conflict(error):
                raise _LockConflict from error
            paces.note_failure(event_type)
            raise _Failed from error
        paces.note(event_type, self._bench.stopwatch() - self._begun_at)
        return outcome

    def _begin(self, mode: str) -> HandlerSession:
        """The session of the transaction that is under way, or of a new one."""
        if self._session is None:
            connection = self._inbox.engine.connect().execution_options(sqlite_begin=mode)
            try:
                connection.begin()
            except SQLAlchemyError:
                connection.close()
                raise
            self._session, self._session_began_at = HandlerSession(connection), self._bench.stopwatch()
        return self._session

    def _leases_are_old(self) -> bool:
        """Whether they might run out during another attempt."""
        return self._bench.stopwatch() - self._renewed_at > self._inbox.settings.handler_timeout

    def _renew(self) -> None:
        """Renew the leases, so that none ends, however often an event is tried. Not while handlers' work is open."""
        if self._leases_are_old():
            renew(self._inbox, self.unsettled())
            self._renewed_at = self._bench.stopwatch()

    def _settle(self, outcome: Outcome) -> None:
        """Commit this outcome alone."""
        self._outcomes.append(outcome)
        try:
            self._commit()
        except LeaseLost:
            self.roll_back()
            self._give_up(outcome, "lease lost")

    def _fail(self, lease: Lease, opened: Opened | None, error: Exception) -> None:
        """Record the failure of an attempt that is undone as a whole, in a transaction of its own."""
        self._record(failed(self._bench, lease, opened, error.__cause__ or error, since=self._begun_at))

    def _record(self, outcome: Outcome) -> None:
        """Commit this outcome in a transaction of its own."""
        for _ in range(CONFLICTS_BEFORE_LOCKING):
            self.roll_back()
            try:
                self._settle(outcome)
                return
            except _LockConflict:
                continue
            except _Refused as refused:
                log.error("outcome_not_recorded", event_id=outcome.lease.event_id, error=cause_of(refused))
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
        self._note_settled(outcomes)

    def _note_settled(self, outcomes: Sequence[Outcome]) -> None:
        """What is logged and remembered of outcomes that are committed."""
        for outcome in outcomes:
            self._settled.add(outcome.lease.inbox_id)
            outcome.log()
        events = [
            outcome.opened.event
            for outcome in outcomes
            if outcome.opened and not outcome.failure and not outcome.lease.is_follow_up
        ]
        self._bench.noted.note(self._inbox, events)

    def _give_up(self, outcome: Outcome, result: str) -> None:
        """Leave the event to the next holder of its lease: nothing was changed."""
        self._settled.add(outcome.lease.inbox_id)
        outcome._replace(result=result, state=State.PENDING, failure=None).log()
