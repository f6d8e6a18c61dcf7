"""What a person says about a condition: it is known (acknowledge), or not now (snooze). Each is audited.

receiver/alerts/sending.py decides what that means for messages. To add such an act, call `_say()`.
"""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from receiver.database.engine import writing
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.models import AlertCondition

SNOOZES = {1: timedelta(hours=1), 8: timedelta(hours=8), 24: timedelta(hours=24), 72: timedelta(hours=72)}
"""For how long a condition can be snoozed, by the hours."""


def acknowledge(inbox: Inbox, code: str, *, actor: str) -> bool:
    """Nothing more is sent until the condition is over. Says whether it lasts."""
    lasts = AlertCondition.lasts
    return _say(inbox, code, "acknowledged", actor=actor, detail=code, only=lasts, acknowledged_by=actor)


def snooze(inbox: Inbox, code: str, hours: int, *, actor: str) -> bool:
    """Nothing is sent for so many hours. Says whether the condition is known. Raises KeyError for other hours."""
    until, told = inbox.now(plus=SNOOZES[hours].total_seconds()), f"{code}, for {hours} hours"
    return _say(inbox, code, "snoozed", actor=actor, detail=told, snoozed_until=until)


def wake(inbox: Inbox, code: str, *, actor: str) -> bool:
    """Take both back. Says whether the condition is known."""
    return _say(inbox, code, "resumed", actor=actor, detail=code, snoozed_until=None, acknowledged_by=None)


def _say(
    inbox: Inbox,
    code: str,
    result: str,
    *,
    actor: str,
    detail: str,
    only: sa.ColumnElement[bool] | sa.True_ | Any = True,
    **values: Any,
) -> bool:
    which = sa.and_(AlertCondition.code == code, only)
    with writing(inbox.engine) as session:
        change = sa.update(AlertCondition).where(which).values(values).returning(AlertCondition.code)
        if session.scalar(change) is None:
            return False
        record(session, inbox, "alert", result, actor=actor, detail=detail)
    return True
