"""Keeps deliveries that failed verification, so that the doctor can find out how they are signed. Sandbox only.

It is off until somebody opens a window. A window ends by itself, by time or by count. Captured deliveries are sealed.
Only the newest are kept, and only a few per address in each window. So a flood can neither fill the disk nor push out
everything else. Deliveries that a window leaves out are counted in the audit log, and the page says how many and why.
"""

from collections.abc import Callable, Sequence
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.engine import reading, writing
from receiver.privacy.sealing import body_digest, seal, unseal
from receiver.protocol.captured import Captured
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.models import AuditEntry, CapturedDelivery, CaptureWindow
from receiver.store.tally import Key

RING = 20
MOST_PER_ADDRESS = 5
MOST_MINUTES = 120
OPENED = "opened"
LEFT_OUT = f"left out: its address had {MOST_PER_ADDRESS} already"
"""Results in the audit log."""


class CaptureRefused(Exception):
    """Live deliveries are never captured."""

    def __init__(self) -> None:
        super().__init__(
            "Deliveries are captured in the sandbox only. What fails verification in live is a stranger's."
        )


def open_window(inbox: Inbox, *, minutes: int, count: int, actor: str) -> None:
    """Capture for so many minutes or deliveries, whichever ends first. Raises CaptureRefused in `live`.

    A window starts afresh: what earlier ones kept counts against nobody.
    """
    if inbox.settings.environment != "sandbox":
        raise CaptureRefused
    minutes, count = min(minutes, MOST_MINUTES), min(count, RING)
    with writing(inbox.engine) as session:
        session.execute(sa.delete(CaptureWindow))
        newest = session.scalar(sa.select(sa.func.max(CapturedDelivery.id))) or 0
        ends_at = inbox.now(plus=minutes * 60)
        session.execute(sa.insert(CaptureWindow).values(id=newest + 1, ends_at=ends_at, remaining=count))
        record(session, inbox, "capture", OPENED, actor=actor, detail=f"{minutes} minutes, {count} deliveries")


def close_window(inbox: Inbox, *, actor: str) -> None:
    """Capture no more. What was captured stays until it is a day old."""
    with writing(inbox.engine) as session:
        session.execute(sa.delete(CaptureWindow))
        record(session, inbox, "capture", "closed", actor=actor)


def present_window(inbox: Inbox) -> CaptureWindow | None:
    """The window that is open now, if there is one."""
    with reading(inbox.engine) as session:
        return session.scalar(sa.select(CaptureWindow).where(*_open(inbox)))


def left_out(inbox: Inbox) -> int:
    """How many deliveries the newest window left out since their address had its share. A minute late at the most."""
    # In so many words, so that the partial index `ix_audit_acts` serves it.
    of_captures = AuditEntry.action == "capture", sa.text("action NOT IN ('delivery', 'attempt')")
    opened = sa.select(sa.func.max(AuditEntry.id)).where(*of_captures, AuditEntry.result == OPENED).scalar_subquery()
    since_then = *of_captures, AuditEntry.result == LEFT_OUT, AuditEntry.id > opened
    with reading(inbox.engine) as session:
        return int(session.scalar(sa.select(sa.func.sum(AuditEntry.occurrences)).where(*since_then)) or 0)


def keep(inbox: Inbox, captured: Captured, has_own_row: Callable[[Key], bool], *, reason: str, address: str) -> bool:
    """Keep the delivery if a window is open and its sender's share is not used up. Says whether it was kept.

    `has_own_row` says whether one that is left out has an audit row of its own; if not, it has been counted.
    """
    source = body_digest(address.encode(), inbox.settings.payload_keys)
    with reading(inbox.engine) as session:
        window = session.scalar(sa.select(CaptureWindow).where(*_open(inbox)))
        if window is None:
            return False
        share_is_used = _share_is_used(session, window, source)
    if share_is_used and not has_own_row(Key(LEFT_OUT, action="capture")):
        return False
    seal_id = uuid4()
    sealed = seal(captured.to_json(), row=seal_id, keys=inbox.settings.payload_keys)
    with writing(inbox.engine) as session:
        window = session.scalar(sa.select(CaptureWindow).where(*_open(inbox)).with_for_update())
        if window is None:
            return False
        if _share_is_used(session, window, source):
            record(session, inbox, "capture", LEFT_OUT)
            return False
        window.remaining -= 1
        session.execute(
            sa.insert(CapturedDelivery).values(
                captured_at=inbox.now(), reason=reason, source=source, seal_id=seal_id, sealed_request=sealed
            )
        )
        newest = sa.select(CapturedDelivery.id).order_by(CapturedDelivery.id.desc()).limit(RING)
        session.execute(sa.delete(CapturedDelivery).where(CapturedDelivery.id.not_in(newest)))
    return True


def kept(inbox: Inbox) -> Sequence[CapturedDelivery]:
    """What was captured, newest first."""
    with reading(inbox.engine) as session:
        return session.scalars(sa.select(CapturedDelivery).order_by(CapturedDelivery.id.desc())).all()


def open_capture(inbox: Inbox, row: CapturedDelivery) -> Captured:
    """The delivery in clear text, for the doctor. Raises CannotUnseal."""
    return Captured.from_json(unseal(row.sealed_request, row=row.seal_id, keys=inbox.settings.payload_keys))


def _share_is_used(session: Session, window: CaptureWindow, source: str) -> bool:
    of_source = CapturedDelivery.source == source, CapturedDelivery.id >= window.id
    number = sa.select(sa.func.count()).select_from(CapturedDelivery).where(*of_source)
    return (session.scalar(number) or 0) >= MOST_PER_ADDRESS


def _open(inbox: Inbox) -> tuple[sa.ColumnElement[bool], ...]:
    return CaptureWindow.ends_at > inbox.now(), CaptureWindow.remaining > 0
