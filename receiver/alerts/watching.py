"""Which conditions last: a worker looks every fifteen seconds, whichever comes first, and notes what changed.

The only row of `alert_turn` says when the next look is due. A worker takes the turn in one UPDATE, so two never look at
once. A worker that dies in its turn has noted nothing, and the next one looks again. Whom to tell, and when, decides
receiver/alerts/sending.py.

Who looks lives, so a worker that takes the turn says so first. When a machine sleeps for some minutes, the worker may
look before its parent has written a heartbeat. It must not tell anybody that no worker lives.
"""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.alerts.channels import channels_of
from receiver.database.engine import reading, writing
from receiver.database.insert import insert_into
from receiver.queries.conditions import Condition, conditions
from receiver.queries.health import DEFAULT_LIMITS, health
from receiver.store.inbox import Inbox
from receiver.store.models import AlertChannel, AlertCondition, AlertTurn, Heartbeat

LOOK_SECONDS = 15.0


def look_if_due(inbox: Inbox, worker: str) -> bool:
    """Take the turn for this worker, unless another one has it. Says whether this was the one that looked.

    A worker that its parent has not noted yet does not look.
    """
    due = AlertTurn.next_at.is_(None) | (AlertTurn.next_at <= inbox.now())
    with reading(inbox.engine) as session:
        if not session.scalar(sa.select(AlertTurn.id).where(due)):
            return False
    take = sa.update(AlertTurn).where(due).values(next_at=inbox.now(plus=LOOK_SECONDS)).returning(AlertTurn.id)
    lives = sa.update(Heartbeat).where(Heartbeat.worker == worker).values(seen_at=inbox.now())
    with writing(inbox.engine) as session:
        if session.scalar(lives.returning(Heartbeat.worker)) is None or session.scalar(take) is None:
            return False
    look(inbox)
    return True


def look(inbox: Inbox) -> None:
    """Note which conditions began and which ended. Raises SQLAlchemyError."""
    found = {condition.code: condition for condition in conditions(health(inbox), DEFAULT_LIMITS)}
    with writing(inbox.engine) as session:
        session.execute(sa.select(AlertTurn.id).with_for_update())
        known = {row.code: row for row in session.scalars(sa.select(AlertCondition))}
        for condition in found.values():
            _note_lasting(session, inbox, condition, known.get(condition.code))
        for code in known.keys() - found.keys():
            _note_ended(inbox, known[code])
        _make_channels(session, inbox)
        session.execute(sa.update(AlertTurn).values(looked_at=inbox.now()))


def _note_lasting(session: Session, inbox: Inbox, condition: Condition, row: AlertCondition | None) -> None:
    if row is None:
        values = {"code": condition.code, "lasts": True, "since": inbox.now(), "sentence": condition.sentence}
        session.execute(sa.insert(AlertCondition).values(values))
        return
    row.sentence = condition.sentence
    if not row.lasts:
        row.lasts, row.since = True, inbox.now()


def _note_ended(inbox: Inbox, row: AlertCondition) -> None:
    if row.lasts:
        row.lasts, row.since, row.acknowledged_by = False, inbox.now(), None


def _make_channels(session: Session, inbox: Inbox) -> None:
    for channel in channels_of(inbox.settings):
        values = {"channel": channel.key, "due_at": inbox.now()}
        session.execute(insert_into(AlertChannel, inbox.engine.dialect.name).values(values).on_conflict_do_nothing())
