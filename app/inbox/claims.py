"""Who may run an event now: the claim, its lease and its token.

A claim is charged as an attempt when it is taken, so an event that kills its worker runs out of attempts like any
other. Only the holder of the token may settle, and a lost lease is never settled twice: `settle()` is the fence.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.database import writing
from app.inbox.audit import record
from app.inbox.context import Inbox
from app.inbox.lifecycle import State
from app.inbox.models import StoredEvent

LEASE_MARGIN_SECONDS = 15.0
WORKER_DIED = (
    "the worker died during every attempt: killed, out of memory, os._exit in the handler, or deaf to its time limit"
)
_PENDING = StoredEvent.state == sa.literal_column("'pending'")  # a literal, so that the partial index serves it
_RELEASED: dict[str, Any] = {"claim_token": None, "lease_until": None, "claimed_by": None}


class LeaseLost(Exception):
    """Somebody else holds the claim now."""


@dataclass(frozen=True)
class Claim:
    """The right to run one attempt of one event, until the lease ends."""

    inbox_id: int
    token: UUID
    attempt: int
    event_id: str
    event_type: str
    seal_id: UUID
    sealed_payload: bytes | None


def claim_due(inbox: Inbox, worker: str) -> list[Claim]:
    """Take the events that are due, oldest first, and commit the claim.

    An event whose lease ran out may have killed its worker: it is taken alone, so that it can't take
    neighbours with it, and it is buried when its attempts are used up.
    """
    with writing(inbox.engine) as session:
        # Beyond its last attempt by one: in that one it may have been a neighbour that never ran.
        _bury(session, inbox, _lost(inbox) & (StoredEvent.attempts > inbox.settings.max_attempts))
        token = uuid4()
        claims = _take(session, inbox, worker, token, lost=True, most=1)
        for claim in claims:
            record_attempt(session, inbox, claim, "worker lost", number=claim.attempt - 1)
        return claims or _take(session, inbox, worker, token, lost=False, most=inbox.settings.worker_batch)


def hand_back(inbox: Inbox, claims: Sequence[Claim]) -> None:
    """Return claims whose handlers did not run to their end: due at once, and the attempt is not charged."""
    with writing(inbox.engine) as session:
        for claim in claims:
            with suppress(LeaseLost):
                settle(session, claim, attempts=StoredEvent.attempts - 1)
                record_attempt(session, inbox, claim, "handed back")


def recover(inbox: Inbox, worker: str, *, begun: int, died: bool) -> None:
    """Let go of what a worker holds that has `died` or lost the database, also of claims it never heard of.

    `begun` is the row whose attempt was begun last, or 0. It alone is charged: its lease ends, so that it is taken
    alone, or it is dead when its worker died of its last attempt. What was not begun costs nothing.
    """
    held = _held_by(worker)
    with writing(inbox.engine) as session:
        if died:
            exhausted = StoredEvent.attempts >= inbox.settings.max_attempts
            _bury(session, inbox, held & (StoredEvent.id == begun) & exhausted)
        session.execute(
            sa.update(StoredEvent).where(held, StoredEvent.id == begun).values(lease_until=inbox.now(plus=-1))
        )
        returned = session.execute(
            sa.update(StoredEvent)
            .where(held, StoredEvent.id != begun)
            .values(attempts=StoredEvent.attempts - 1, **_RELEASED)
            .returning(StoredEvent.id, StoredEvent.event_id, StoredEvent.event_type),
            execution_options={"synchronize_session": False},
        ).all()
        for inbox_id, event_id, event_type in returned:
            record(
                session, inbox, "attempt", "handed back", event_id=event_id, event_type=event_type, inbox_id=inbox_id
            )


def _held_by(worker: str) -> sa.ColumnElement[bool]:
    return _PENDING & (StoredEvent.claimed_by == worker)


def _lost(inbox: Inbox) -> sa.ColumnElement[bool]:
    return _PENDING & StoredEvent.claim_token.is_not(None) & (StoredEvent.lease_until <= inbox.now())


def settle(session: Session, claim: Claim, **values: Any) -> None:
    """Give the claim up and set what became of its event. Raises LeaseLost when it is ours no longer."""
    settled = session.execute(
        sa.update(StoredEvent)
        .where(StoredEvent.id == claim.inbox_id, StoredEvent.claim_token == claim.token)
        .values(**values, **_RELEASED)
        .returning(StoredEvent.id),
        execution_options={"synchronize_session": False},
    ).all()
    if not settled:
        raise LeaseLost


def record_attempt(
    session: Session,
    inbox: Inbox,
    claim: Claim,
    result: str,
    *,
    number: int | None = None,
    duration_ms: int | None = None,
    detail: str | None = None,
) -> None:
    """The audit row of one attempt."""
    record(
        session,
        inbox,
        "attempt",
        result,
        event_id=claim.event_id,
        event_type=claim.event_type,
        actor=f"attempt {number or claim.attempt}",
        duration_ms=duration_ms,
        detail=detail,
        inbox_id=claim.inbox_id,
    )


def _take(session: Session, inbox: Inbox, worker: str, token: UUID, *, lost: bool, most: int) -> list[Claim]:
    claimable = _lost(inbox) if lost else _PENDING & StoredEvent.claim_token.is_(None)
    due = (
        sa.select(StoredEvent.id)
        .where(claimable, StoredEvent.due_at <= inbox.now())
        .order_by(StoredEvent.due_at, StoredEvent.id)
        .limit(most)
        .with_hint(StoredEvent, "INDEXED BY ix_events_due", "sqlite")  # or it sorts the whole backlog at each claim
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    lease = most * inbox.settings.handler_timeout + LEASE_MARGIN_SECONDS
    rows = session.execute(
        sa.update(StoredEvent)
        .where(StoredEvent.id.in_(sa.select(due.c.id)))
        .values(
            attempts=StoredEvent.attempts + 1,
            claim_token=token,
            claimed_by=worker,
            lease_until=inbox.now(plus=lease),
        )
        .returning(
            StoredEvent.id,
            StoredEvent.attempts,
            StoredEvent.event_id,
            StoredEvent.event_type,
            StoredEvent.seal_id,
            StoredEvent.sealed_payload,
        ),
        execution_options={"synchronize_session": False},
    )
    claims = [Claim(r[0], token, r[1], r[2] or "", r[3] or "", r[4], r[5]) for r in rows]
    return sorted(claims, key=lambda claim: claim.inbox_id)


def _bury(session: Session, inbox: Inbox, which: sa.ColumnElement[bool]) -> None:
    """Events that took their worker with them in their last permitted attempt are dead."""
    rows = session.execute(
        sa.update(StoredEvent)
        .where(which)
        .values(state=State.DEAD, finished_at=inbox.now(), last_error=WORKER_DIED, **_RELEASED)
        .returning(StoredEvent.id, StoredEvent.event_id, StoredEvent.event_type),
        execution_options={"synchronize_session": False},
    ).all()
    for inbox_id, event_id, event_type in rows:
        record(
            session, inbox, "attempt", "dead", event_id=event_id, event_type=event_type, detail=WORKER_DIED,
            inbox_id=inbox_id,
        )  # fmt: skip
