"""Handlers for all published types: each keeps the state of a subject, so that a test can see that it ran."""

import json
import os
import smtplib
import time
from email.message import EmailMessage
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from receiver import Event, Session, advance, follow_up, follows_up, handles
from tests.receiver.partner.models import ProbeClaim, ProbePayment, ProbePolicy, ProbeRefund, ProbeTopic


@handles("payment.success")
def payment_success(event: Event, session: Session) -> None:
    advance(session, ProbePayment, event.transaction_id, status="paid", rank=2, event=event)


@handles("payment.failed")
def payment_failed(event: Event, session: Session) -> None:
    advance(session, ProbePayment, event.transaction_id, status="failed", rank=1, event=event)


@handles("policy.issued")
def policy_issued(event: Event, session: Session) -> None:
    advance(session, ProbePolicy, event.policy_id, status="issued", rank=1, event=event)


@handles("policy.cancelled")
def policy_cancelled(event: Event, session: Session) -> None:
    advance(session, ProbePolicy, event.policy_id, status="cancelled", rank=2, event=event)


@handles("refund.processed")
def refund_processed(event: Event, session: Session) -> None:
    advance(session, ProbeRefund, event.transaction_id, status="refunded", rank=1, event=event)


@handles("claim.submitted")
def claim_submitted(event: Event, session: Session) -> None:
    advance(session, ProbeClaim, event.claim_id, status="submitted", rank=0, event=event)


@handles("claim.updated")
def claim_updated(event: Event, session: Session) -> None:
    advance(session, ProbeClaim, event.claim_id, status=(event.status or "updated")[:50], rank=1, event=event)


@handles("account.*", "onboarding.*")
def account_updated(event: Event, session: Session) -> None:
    topic = event.type.partition(".")[0]
    advance(session, ProbeTopic, topic, status=(event.status or event.type)[:50], event=event)


@handles("probe.told")
def told(event: Event, session: Session) -> None:
    """It changes a row, and asks for a letter and a call."""
    advance(session, ProbePayment, event.transaction_id, status="told", event=event)
    for name in ("probe.write", "probe.call"):
        follow_up(session, event, name, {"of": event.id})


@follows_up("probe.write")
def write(event: Event) -> None:
    """To the mail server of PROBE_MAIL."""
    message, address = EmailMessage(), urlsplit(os.environ["PROBE_MAIL"])
    message["From"] = message["To"] = "probe@example.com"
    message["Message-ID"], message["Subject"] = f"<{event.id}@example.com>", event.data["of"]
    with smtplib.SMTP(address.hostname or "", address.port or 0, timeout=10) as server:
        server.send_message(message)


@follows_up("probe.call")
def call(event: Event) -> None:
    """To the system of PROBE_SYSTEM."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": event.id}
    urlopen(Request(os.environ["PROBE_SYSTEM"], json.dumps(event.data).encode(), headers), timeout=10).close()


@handles("probe.slow.*", slow=True)
def slow(event: Event, session: Session) -> None:
    """It takes as long as it is told."""
    time.sleep(event.data["seconds"])
    advance(session, ProbePayment, event.transaction_id, status="slow", event=event)
