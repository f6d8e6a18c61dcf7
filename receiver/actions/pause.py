"""Pauses the handlers of one event type, or of all, and resumes them: for a reason that the audit log keeps.

    pause ──▶ paused ── resume ──▶ resumed ── nothing is put aside any more ──▶ gone
                 ▲                    │
                 └────── pause ───────┘

A worker leases nothing of a paused type (receiver/worker/leases.py); it reads the pauses once a second. That alone
holds events up. But a search for due events would pass all that a long pause holds up, each time. So workers put
such events aside, portion by portion: they have no due time. After the resumption, workers make them due again.

A step is one transaction, which locks the rows of the pauses. So it never puts aside what was resumed meanwhile.
"""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.engine import reading, writing
from receiver.database.insert import insert_into
from receiver.privacy.masking import mask_text
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import EVERY
from receiver.store.models import Pause, StoredEvent
from receiver.store.pauses import held_up, paused_types
from receiver.store.wakeup import notify

PORTION = 1000
LOOKED_AT = 5000
"""So many of the oldest due events are looked at in a step. Others may be due, and must not make it slow."""
_PENDING = StoredEvent.state == sa.literal_column("'pending'")  # a literal, so that the partial index serves it
_BY_DUE_TIME = "INDEXED BY ix_events_due"


def pause(inbox: Inbox, event_type: str, *, actor: str, reason: str) -> bool:
    """Pause this type, or `EVERY`. False when it is paused already. What runs now runs to its end."""
    begun = {
        "paused_at": inbox.now(), "paused_by": actor, "reason": mask_text(reason), "resumed_at": None, "position": 0,
    }  # fmt: skip
    with writing(inbox.engine) as session:
        insert = insert_into(Pause, session.get_bind().dialect.name).values(event_type=event_type, **begun)
        upsert = insert.on_conflict_do_update(
            index_elements=["event_type"], set_=begun, where=Pause.resumed_at.is_not(None)
        )
        is_new = session.scalar(upsert.returning(Pause.event_type)) is not None
        if is_new:
            record(session, inbox, "pause", "paused", event_type=event_type, actor=actor, detail=reason)
    return is_new


def resume(inbox: Inbox, event_type: str, *, actor: str, reason: str | None = None) -> bool:
    """Let the handlers of this type, or of `EVERY`, run again. False when it is not paused."""
    with writing(inbox.engine) as session:
        resumed = session.scalar(
            sa.update(Pause)
            .where(Pause.event_type == event_type, Pause.resumed_at.is_(None))
            .values(resumed_at=inbox.now(), position=0)
            .returning(Pause.event_type)
        )
        if resumed is not None:
            record(session, inbox, "pause", "resumed", event_type=event_type, actor=actor, detail=reason)
            notify(session)
    return resumed is not None


def step(inbox: Inbox) -> bool:
    """Put one portion of what is paused aside, or make one portion of what is resumed due again. False: none is left.

    Raises SQLAlchemyError; then nothing of the step has happened.
    """
    with reading(inbox.engine) as session:
        if session.scalar(sa.select(Pause.event_type).limit(1)) is None:
            return False
    with writing(inbox.engine) as session:
        locked = sa.select(Pause).order_by(Pause.event_type).with_for_update(skip_locked=True)
        pauses = session.scalars(locked.execution_options(populate_existing=True)).all()
        paused = {found.event_type for found in pauses if found.resumed_at is None}
        moved = _put_aside(session, inbox, paused) if paused else 0
        for ended in (found for found in pauses if found.resumed_at is not None):
            moved += _make_due(session, inbox, ended, paused_types(session))
    return moved > 0


def _put_aside(session: Session, inbox: Inbox, paused: Collection[str]) -> int:
    """The oldest due events of these types. What is leased runs to its end."""
    first = (
        sa.select(StoredEvent.id, StoredEvent.event_type, StoredEvent.lease_token)
        .where(_PENDING, StoredEvent.due_at <= inbox.now())
        .order_by(StoredEvent.due_at, StoredEvent.id)
        .with_hint(StoredEvent, _BY_DUE_TIME, "sqlite")
        .limit(LOOKED_AT)
        .subquery()
    )
    rows = session.scalars(
        sa.select(StoredEvent.id)
        .where(StoredEvent.id.in_(sa.select(first.c.id).where(first.c.lease_token.is_(None))), held_up(paused))
        .where(_PENDING, StoredEvent.lease_token.is_(None))
        .limit(PORTION)
        .with_for_update(skip_locked=True)
    ).all()
    _set_due(session, rows, None)
    return len(rows)


def _make_due(session: Session, inbox: Inbox, ended: Pause, paused: Collection[str]) -> int:
    """What was put aside and no other pause holds up. The pause is gone when nothing is left."""
    is_of_it = sa.true() if ended.event_type == EVERY else StoredEvent.event_type == ended.event_type
    rows = session.scalars(
        sa.select(StoredEvent.id)
        .where(_PENDING, StoredEvent.due_at.is_(None), StoredEvent.id > ended.position, is_of_it, ~held_up(paused))
        .order_by(StoredEvent.due_at, StoredEvent.id)
        .with_hint(StoredEvent, _BY_DUE_TIME, "sqlite")
        .limit(PORTION)
    ).all()
    if not rows:
        session.delete(ended)
        return 0
    _set_due(session, rows, inbox)
    ended.position = rows[-1]
    notify(session)
    return len(rows)


def _set_due(session: Session, rows: Collection[int], inbox: Inbox | None) -> None:
    """Due now, or without a due time."""
    if rows:
        session.execute(
            sa.update(StoredEvent).where(StoredEvent.id.in_(rows)).values(due_at=inbox.now() if inbox else None),
            execution_options={"synchronize_session": False},
        )
