"""Counts deliveries of events that are known, many to one transaction (group_commit.py).

A sender that got no answer in time may repeat everything at once. If each repeated delivery had a transaction of its
own, all would queue up at the disk, and those of one event at the lock of its row.

Here a delivery is counted if it has the bytes of the first one, and its event needs nothing else. The others are left
to `Rows.receive_again()`: another body, an event that becomes due again, a row that somebody else holds.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from receiver.database.causes import cause_of
from receiver.database.engine import writing
from receiver.ingest.arrivals import Arrival
from receiver.ingest.receipts import DUPLICATE
from receiver.store.audit import record_deliveries
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import REVIVED_BY_REDELIVERY
from receiver.store.models import StoredEvent
from receiver.store.tally import Key

HELD_FOR = sa.text("SET LOCAL lock_timeout = '250ms'")
"""Longer than another group holds a row. What is held longer must not keep the rest of the group waiting."""

log = structlog.get_logger()
_events: Any = StoredEvent.__table__
_KNOWN = (
    sa.select(_events.c.id, _events.c.event_id, _events.c.body_digest)
    .where(_events.c.event_id.in_(sa.bindparam("event_ids", expanding=True)))
    .where(_events.c.state.not_in(REVIVED_BY_REDELIVERY))
    .order_by(_events.c.id)  # so that two groups can't wait for each other
    .with_for_update()
)
_COUNT = (
    sa.update(_events)
    .where(_events.c.id == sa.bindparam("known"))
    .values(deliveries=_events.c.deliveries + sa.bindparam("times"))
)


class Redeliveries:
    """A store for groups of them."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def store(self, items: Sequence[Arrival]) -> list[bool]:
        """Count the deliveries. Says of each whether it was counted."""
        try:
            with writing(self._inbox.engine) as session:
                return self._counted(session, items)
        except SQLAlchemyError as error:  # each is tried by itself now, in the time that it has left
            log.info("redeliveries_not_counted_together", error=cause_of(error), deliveries=len(items))
            return [False] * len(items)

    def announce(self) -> None:
        """Nobody waits for what was only counted."""

    def close(self) -> None:
        """The connection belongs to the inbox."""

    def _counted(self, session: Session, items: Sequence[Arrival]) -> list[bool]:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(HELD_FOR)
        rows = session.execute(_KNOWN, {"event_ids": sorted({item.event_id for item in items})})
        known = {(row.event_id, row.body_digest): row.id for row in rows}
        found = [known.get((item.event_id, item.body_digest)) for item in items]
        counted = [(row, item) for row, item in zip(found, items, strict=True) if row is not None]
        if counted:
            times = Counter(row for row, _ in counted)
            session.connection().execute(_COUNT, [{"known": row, "times": n} for row, n in sorted(times.items())])
            self._audit(session, counted)
        return [row is not None for row in found]

    def _audit(self, session: Session, counted: Sequence[tuple[int, Arrival]]) -> None:
        """What can be repeated without end must not fill the disk."""
        inbox, now = self._inbox, self._inbox.clock.now()
        rows = [
            {
                "event_id": item.event_id,
                "event_type": item.event_type,
                "request_id": item.request_id,
                "duration_ms": item.duration_ms,
                "inbox_id": row,
            }
            for row, item in counted
            if inbox.tally.admits(Key(DUPLICATE, item.event_id, item.event_type), now)
        ]
        record_deliveries(session, inbox, DUPLICATE, rows)
