"""What a support request to Senang.io needs (§12.2), as text: partner ID, event ID, timestamps, what happened, and the
payload with everything sensitive masked. Also for a time in which deliveries were refused, where there is no event.

Nothing is sent: the page and `events support` show the text, and a person sends it.
"""

from datetime import datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from receiver.database.engine import reading
from receiver.protocol.json_body import to_json
from receiver.protocol.moments import moved, written
from receiver.queries.audit_trail import audit_trail
from receiver.store.inbox import Inbox
from receiver.store.masked import visible_payload
from receiver.store.models import AuditEntry, StoredEvent
from receiver.store.shown import WORDS, Shown, shown, shown_part

ADDRESS = "customercare@senang.io"
MALAYSIA = ZoneInfo("Asia/Kuala_Lumpur")
LONGEST_TIME = timedelta(days=7)
"""Every audit row of the time is counted: a longer one would be read for too long, and tells support nothing more."""
LONGEST_MAIL = 1800
"""Characters of a mailto: body. Browsers and mail programs cut longer addresses without a word."""


def request_for_event(inbox: Inbox, stored: StoredEvent) -> str:
    """The text for one event, or for an authentic body that is not an event."""
    with reading(inbox.engine) as session:
        trail = audit_trail(session, stored).shown(inbox.settings.showing)
    row = shown(stored, inbox.settings.showing)
    payload = shown_part("masked payload", lambda: _payload(inbox, stored))
    lines = [
        *_heading(inbox),
        f"Event ID: {row.event_id or row.stated_event_id or 'none could be read'}",
        f"Event type: {row.event_type or 'none could be read'}",
        f"Received: {in_both_zones(row.received_at)}",
        *([f"Occurred: {in_both_zones(row.occurred_at)}"] if row.occurred_at else []),
        f"State with us: {row.state}{f' ({row.quarantine_reason})' if row.quarantine_reason else ''}",
        f"Deliveries: {row.deliveries}, attempts: {row.attempts}",
        *([f"Last error: {row.last_error}"] if row.last_error else []),
        "",
        "What happened:",
        *(f"  {line}" for line in trail.lines(lambda entry: shown_part("audit row", lambda: _line(entry)) or WORDS)),
        "",
        "Payload, sensitive data masked:",
        payload or WORDS,
    ]
    return "\n".join(lines)


def request_for_time(inbox: Inbox, since: datetime, until: datetime) -> str:
    """The text for a time in which deliveries were refused (§10.2 asks for such a report too), its last seven days."""
    since = max(since, moved(until, -LONGEST_TIME))
    lines = [
        *_heading(inbox),
        f"From: {in_both_zones(since)}",
        f"Until: {in_both_zones(until)}",
        "",
        "Deliveries by what became of them:",
        *(_counted(inbox, since, until) or ["none"]),
    ]
    return "\n".join(lines)


def mail_address(text: str) -> str:
    """A `mailto:` for the text. A long text is cut, with a note that the whole text must be pasted."""
    if len(text) > LONGEST_MAIL:
        text = f"{text[:LONGEST_MAIL]}\n[cut here: please paste the whole text]"
    return f"mailto:{ADDRESS}?subject={quote('Webhook support request')}&body={quote(text)}"


def in_both_zones(moment: datetime) -> str:
    """A moment as both sides read it."""
    return f"{written(moment)} UTC ({written(moment, MALAYSIA)} Kuala Lumpur)"


def _heading(inbox: Inbox) -> list[str]:
    partner = inbox.settings.partner_id or "[not set: SENANG_PARTNER_ID]"
    return ["Webhook support request", "", f"Partner ID: {partner}", f"Environment: {inbox.settings.environment}"]


def _payload(inbox: Inbox, row: StoredEvent) -> str:
    payload = visible_payload(inbox.settings, row)
    return "erased by retention" if payload is None else to_json(payload, indent=2)


def _line(entry: Shown) -> str:
    times = f" × {entry.occurrences}" if entry.occurrences > 1 else ""
    detail = f" ({entry.detail})" if entry.detail else ""
    return f"{written(entry.at)} UTC  {entry.action}: {entry.result}{times}{detail}"


def _counted(inbox: Inbox, since: datetime, until: datetime) -> list[str]:
    at = AuditEntry.at
    statement = (
        sa.select(AuditEntry.result, sa.func.sum(AuditEntry.occurrences), sa.func.min(at), sa.func.max(at))
        .where(AuditEntry.action == "delivery", at >= since, at < until)
        .group_by(AuditEntry.result)
        .order_by(AuditEntry.result)
    )
    with reading(inbox.engine) as session:
        return [
            f"  {result}: {count}, first {written(first)} UTC, last {written(last)} UTC"
            for result, count, first, last in session.execute(statement)
        ]
