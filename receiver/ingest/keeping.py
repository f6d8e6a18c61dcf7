"""Third step at the door: keep the delivery as what it was judged to be. What is acknowledged is committed.

Only authentic deliveries are stored. The rest leaves only a trace: the reason of a rejection in the audit log, and in
the sandbox what an operator asked to see. Everything that is stored of a delivery shares the time of that delivery. If
it takes longer, the result is `NOT_STORED`.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Request

from receiver.database.causes import cause_of
from receiver.database.engine import writing
from receiver.ingest import captures
from receiver.ingest.intake import Intake
from receiver.ingest.judging import Forged, Judgement, New, Several, Stale, Unusable
from receiver.ingest.reading import Incoming
from receiver.ingest.receipts import ACCEPTED, DUPLICATE, NOT_STORED, REJECTED, Receipt, of_several
from receiver.ingest.room import NotStored, TooLate
from receiver.ingest.rows import Delivery, Rows, arrival
from receiver.protocol.captured import Captured, kept_headers
from receiver.protocol.envelope import Event
from receiver.protocol.kept import Kept
from receiver.store.audit import record_rejection
from receiver.store.tally import Key

T = TypeVar("T")
log = structlog.get_logger()


def look_for_applied(intake: Intake, incoming: Incoming) -> None:
    """See once a second whether an operator applied other settings. A database that is away changes nothing."""
    inbox = intake.inbox
    if inbox.in_force.is_due():
        _in_time(intake, incoming, inbox.look_for_applied)


def keep(intake: Intake, incoming: Incoming, judged: Judgement) -> Receipt:
    """Make the delivery durable, or say that it is not."""
    match judged:
        case Forged(reason):
            _capture(intake, incoming, reason)
            return keep_rejection(intake, incoming, reason)
        case _ if _is_refused(intake, incoming):
            return NOT_STORED
        case New(kept, event):
            return _keep_event(intake, incoming, event, _delivery(incoming, kept))
        case Unusable(kept, error):
            rows = Rows(intake.inbox, _delivery(incoming, kept))
            return _in_time(intake, incoming, lambda: rows.quarantine_unusable(error)) or NOT_STORED
        case Stale(kept, content, reason):
            _capture(intake, incoming, reason)
            rows = Rows(intake.inbox, _delivery(incoming, kept))
            return _in_time(intake, incoming, lambda: rows.quarantine_stale(content, reason)) or NOT_STORED
        case Several(items):
            if isinstance(items[0], Stale):
                _capture(intake, incoming, items[0].reason)
            return _in_time(intake, incoming, lambda: _keep_all(intake, incoming, items)) or NOT_STORED


def keep_rejection(intake: Intake, incoming: Incoming, reason: str, detail: str | None = None) -> Receipt:
    """Leave a trace of what is refused: its reason code, and of what a stranger sent nothing but `detail`.

    A database that is away costs the trace, not the answer.
    """
    inbox = intake.inbox
    if inbox.tally.admits(Key(f"rejected: {reason}"), inbox.clock.now()):
        _in_time(intake, incoming, lambda: record_rejection(inbox, reason, incoming.request_id, detail))
    return Receipt(REJECTED, reason=reason)


def accept(intake: Intake, event: Event, delivery: Delivery, *, ends_at: float | None = None) -> Receipt | None:
    """Keep an event that is new, or count another delivery of one that is known: many to a transaction.

    None when that is not enough (redeliveries.py). Raises NotStored, at `ends_at` of the monotonic clock at the latest.
    """
    item, size = arrival(intake.inbox.settings, event, delivery), len(delivery.body)
    if intake.committer.submit(item, size=size, ends_at=ends_at):
        return Receipt(ACCEPTED, event.id, event.type)
    if intake.redeliveries.submit(item, size=size, ends_at=ends_at):
        return Receipt(DUPLICATE, event.id, event.type)
    return None


def _keep_event(intake: Intake, incoming: Incoming, event: Event, delivery: Delivery) -> Receipt:
    try:
        receipt = accept(intake, event, delivery, ends_at=incoming.ends_at)
    except NotStored as error:
        log.error("not_committed", error=cause_of(error))
        return NOT_STORED
    if receipt:
        return receipt
    rows = Rows(intake.inbox, delivery)
    return _in_time(intake, incoming, lambda: rows.receive_again(event)) or NOT_STORED


def _keep_all(intake: Intake, incoming: Incoming, items: Sequence[New | Unusable | Stale]) -> Receipt:
    """Keep every event of one delivery in one transaction."""
    receipts = []
    with writing(intake.inbox.engine) as session:
        for item in items:
            rows = Rows(intake.inbox, _delivery(incoming, item.kept))
            match item:
                case New(_, event):
                    receipts.append(rows.accept_in(session, event))
                case Unusable(_, error):
                    receipts.append(rows.quarantine_unusable_in(session, error))
                case Stale(_, content, reason):
                    receipts.append(rows.quarantine_stale_in(session, content, reason))
    return of_several(receipts)


def _delivery(incoming: Incoming, kept: Kept) -> Delivery:
    return Delivery(kept, incoming.request_id, round(incoming.milliseconds()), incoming.traceparent)


def _is_refused(intake: Intake, incoming: Incoming) -> bool:
    """Whether nothing may be stored in this database, since `live` would mix with the sandbox (§8.3)."""
    guard = intake.inbox.guard
    if guard.is_due():
        _in_time(intake, incoming, guard.look)
    return guard.refuses


def _capture(intake: Intake, incoming: Incoming, reason: str) -> None:
    """Show the doctor what failed, where an operator asked for it."""
    inbox = intake.inbox
    if inbox.settings.environment != "sandbox":
        return
    request = Request(incoming.environ)
    headers = kept_headers(request.headers.items())
    now = inbox.clock.now()
    captured = Captured(request.url, headers, incoming.body, now)
    address, has_own_row = request.remote_addr or "", inbox.tally.asked_once(now)
    _in_time(intake, incoming, lambda: captures.keep(inbox, captured, has_own_row, reason=reason, address=address))


def _in_time(intake: Intake, incoming: Incoming, work: Callable[[], T]) -> T | None:
    """The result of the work on this delivery, within the time that it has left.

    None when the database fails or is too slow; it may commit later all the same. The work may run twice, where the
    connection was lost.
    """
    try:
        return intake.storing.result(work, size=len(incoming.body), ends_at=incoming.ends_at)
    except TooLate:
        log.error("not_committed_in_time")
    except (NotStored, SQLAlchemyError) as error:
        log.error("not_committed", error=cause_of(error))
    return None
