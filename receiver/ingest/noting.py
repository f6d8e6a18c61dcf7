"""Counts, logs and traces a delivery: one hook, after the step that keeps it. A span begins before that step.

The audit row is not written here. It is written in the transaction of what it records (rows.py).
"""

import time
from contextlib import suppress
from typing import Any

from flask import Flask

from receiver import metrics
from receiver.ingest.intake import Intake
from receiver.ingest.reading import Incoming
from receiver.ingest.receipts import ACKNOWLEDGED, REJECTED, Receipt
from receiver.ingest.room import NotStored
from receiver.logs import log_delivery
from receiver.store.audit import write_finished_sums

IDLE_SECONDS = 5.0
"""How long counts of a minute that is over stay in memory when no delivery comes, which would write them."""


def note(intake: Intake, incoming: Incoming, receipt: Receipt, *, secret: int | None = None) -> None:
    """Count the delivery, and write its line in the log. `secret` signed it, if it is authentic."""
    seconds = time.monotonic() - incoming.started
    if secret is not None:
        _count(intake, receipt, seconds, secret)
    if intake.inbox.settings.metrics_token:  # or nobody could read them
        metrics.count_delivery(receipt.result, receipt.reason, seconds)
    if _has_line(intake, receipt):
        log_delivery(
            receipt.result,
            receipt.event_id,
            receipt.event_type,
            request_id=incoming.request_id,
            duration_ms=round(seconds * 1000),
            reason=receipt.reason,
        )


def begin_span(intake: Intake, incoming: Incoming, *, is_authentic: bool) -> Any:
    """Begin the span of a delivery before it is kept, so that its event goes on with the trace. None: nobody traces."""
    if intake.tracing is None:
        return None
    sent = incoming.environ.get("HTTP_TRACEPARENT") if is_authentic else None
    span = intake.tracing.delivery(sent=sent, seconds=time.monotonic() - incoming.started)
    incoming.traceparent = intake.tracing.traceparent(span)
    return span


def end_span(intake: Intake, span: Any, incoming: Incoming, receipt: Receipt) -> None:
    """End the span, if there is one."""
    if intake.tracing is not None:
        intake.tracing.end_delivery(
            span,
            receipt.result,
            receipt.reason,
            event_id=receipt.event_id,
            event_type=receipt.event_type,
            request_id=incoming.request_id,
        )


def keep_writing_counts(app: Flask) -> bool:
    """One turn of a loop that a web process takes beside its work."""
    time.sleep(IDLE_SECONDS)
    write_finished_counts(app)
    return True


def write_finished_counts(app: Flask) -> None:
    """Write what was counted in minutes that are over. Else the next delivery would do it, and it may never come."""
    intake: Intake | None = app.extensions.get("intake")
    if intake is not None and intake.inbox.tally.has_finished(intake.inbox.clock.now()):
        _write_beside(intake)


def _has_line(intake: Intake, receipt: Receipt) -> bool:
    """Anybody can have a rejection written, so only a few a minute are."""
    if receipt.result != REJECTED:
        return True
    return intake.lines.admits("delivery", processing_result=receipt.result, reason=receipt.reason)


def _count(intake: Intake, receipt: Receipt, seconds: float, secret: int) -> None:
    """Count what is authentic, and how long it took to keep it. Writing counts down now and then is not waited for."""
    inbox = intake.inbox
    now = inbox.clock.now()
    is_time = intake.secrets.note(secret, now)
    if receipt.result in ACKNOWLEDGED:
        is_time = intake.latencies.note(now, seconds * 1000) or inbox.tally.has_finished(now) or is_time
    if is_time:
        _write_beside(intake)


def _write_beside(intake: Intake) -> None:
    with suppress(NotStored):
        intake.storing.beside(lambda: _write_counts(intake))


def _write_counts(intake: Intake) -> None:
    intake.latencies.write(intake.inbox.engine)
    intake.secrets.write(intake.inbox.engine, intake.inbox.clock.now())
    write_finished_sums(intake.inbox)
