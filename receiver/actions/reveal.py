"""Reveal one hidden column of one event. An audit row, committed first, says who asked for which."""

from receiver.database.engine import writing
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.models import StoredEvent
from receiver.store.shown import shown


def reveal(inbox: Inbox, inbox_id: int, column: str, *, actor: str, request_id: str | None = None) -> str | None:
    """The column in clear text. None when there is no such event, or it has no such value."""
    with writing(inbox.engine) as session:
        row = session.get(StoredEvent, inbox_id)
        value = shown(row, inbox.settings.showing).clear(column) if row else None
        if row is None or value is None:
            return None
        record(
            session, inbox, "reveal", column, event_id=row.event_id or row.stated_event_id, event_type=row.event_type,
            actor=actor, request_id=request_id, inbox_id=inbox_id,
        )  # fmt: skip
        return value
