"""Which events `senang relay` takes from the inbox: verified sandbox events, by row number. Each one is audited.

A quarantined body is not an event. If a replay turns it into one later, it keeps its number, and the relay may have
passed that number already. Then relay it by its event ID. To relay more or less, change `_is_relayed()`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from receiver.database.engine import reading, writing
from receiver.privacy.sealing import CannotUnseal, unseal
from receiver.protocol.kept import unpack
from receiver.queries.audit_trail import find_event
from receiver.queries.filters import row_named
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.models import StoredEvent
from receiver.store.row_horizon import row_horizon

BATCH = 100
LONGEST_RESULT = 60


class NoSuchEvent(Exception):
    """There is no row to start from."""


@dataclass(frozen=True)
class Waiting:
    """An event to relay. Its body is read only when its turn comes."""

    inbox_id: int
    event_id: str
    event_type: str


@dataclass(frozen=True)
class Batch:
    """Events in their order. `until` is the number up to which nothing else is to be relayed, ever."""

    events: Sequence[Waiting]
    until: int


def start_after(inbox: Inbox, start: str) -> int:
    """The number of the row before the first: `now`, `start`, an event ID, or # and a number. Raises NoSuchEvent."""
    if start == "now":
        return row_horizon(inbox)
    if start == "start":
        return 0
    with reading(inbox.engine) as session:
        row = find_event(session, start)
    number = row.id if row else row_named(start)
    if number is None:
        raise NoSuchEvent
    return number - 1


def next_batch(inbox: Inbox, after: int) -> Batch:
    """The events after this row number. Empty when there are none yet."""
    newest = row_horizon(inbox)
    columns = (StoredEvent.id, StoredEvent.event_id, StoredEvent.event_type)
    which = sa.select(*columns).where(StoredEvent.id > after, StoredEvent.id <= newest, _is_relayed())
    with reading(inbox.engine) as session:
        rows = session.execute(which.order_by(StoredEvent.id).limit(BATCH)).all()
    events = [Waiting(inbox_id, event_id or "", event_type or "") for inbox_id, event_id, event_type in rows]
    return Batch(events, rows[-1][0] if len(rows) == BATCH else max(after, newest))


def take_body(inbox: Inbox, event: Waiting, receiver: str) -> bytes:
    """The event's body as it is sealed here, and an audit row of where it goes. Raises CannotUnseal.

    The audit row is committed first, so personal data never leaves without a trace.
    """
    with writing(inbox.engine) as session:
        row = session.get(StoredEvent, event.inbox_id)
        if row is None or row.sealed_payload is None:
            raise CannotUnseal("erased")
        body = unpack(unseal(row.sealed_payload, row=row.seal_id, keys=inbox.settings.payload_keys)).body
        result = f"relayed to {receiver}"
        if len(result) > LONGEST_RESULT:
            result = f"relayed to …{receiver[12 - LONGEST_RESULT :]}"
        record(
            session, inbox, "relay", result, event_id=event.event_id, event_type=event.event_type,
            actor="command line", inbox_id=event.inbox_id,
        )  # fmt: skip
        return body


def _is_relayed() -> sa.ColumnElement[bool]:
    """Only sandbox rows: a database may hold live ones from before its receiver was called a sandbox."""
    sandbox = StoredEvent.environment == sa.literal_column("'sandbox'")
    return StoredEvent.event_id.is_not(None) & StoredEvent.caused_by.is_(None) & sandbox
