"""Writes stored payloads again: sealed with the newest key, or masked by the present rules.

It works in bounded batches, each a transaction of its own, so it can be stopped and started again. To add another
rewriting, write a function that changes one row, given its clear text.
"""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.engine import writing
from receiver.privacy.sealing import CannotUnseal, seal, unseal
from receiver.store.inbox import Inbox
from receiver.store.masked import masked_body
from receiver.store.models import StoredEvent

BATCH = 500


@dataclass
class Rewritten:
    """How many rows were written again, and how many can't be opened with any of PAYLOAD_KEYS."""

    done: int = 0
    unreadable: int = 0


def reseal(inbox: Inbox) -> Rewritten:
    """Seal every payload with the newest of PAYLOAD_KEYS, after a rotation."""
    keys = inbox.settings.payload_keys

    def seal_again(row: StoredEvent, body: bytes) -> None:
        row.sealed_payload, row.sealing_key = seal(body, row=row.seal_id, keys=keys), keys[0].id

    return _rewrite(inbox, StoredEvent.sealing_key != keys[0].id, seal_again)


def remask(inbox: Inbox) -> Rewritten:
    """Mask every payload by the present rules, as long as its sealed form is kept."""

    def mask_again(row: StoredEvent, body: bytes) -> None:
        row.masked_payload = masked_body(inbox.settings, body, is_ours=row.caused_by is not None)

    return _rewrite(inbox, StoredEvent.sealed_payload.is_not(None), mask_again)


def _rewrite(inbox: Inbox, which: sa.ColumnElement[bool], change: Callable[[StoredEvent, bytes], None]) -> Rewritten:
    total, after = Rewritten(), 0
    while True:
        with writing(inbox.engine) as session:
            rows = _next_rows(session, which, after)
            for row in rows:
                after = row.id
                try:
                    change(row, unseal(row.sealed_payload or b"", row=row.seal_id, keys=inbox.settings.payload_keys))
                    total.done += 1
                except CannotUnseal:
                    total.unreadable += 1
        if not rows:
            return total


def _next_rows(session: Session, which: sa.ColumnElement[bool], after: int) -> list[StoredEvent]:
    """The next rows, locked: a redelivery that seals a row anew at this moment must not be overwritten."""
    statement = sa.select(StoredEvent).where(which, StoredEvent.id > after).order_by(StoredEvent.id)
    return list(session.scalars(statement.limit(BATCH).with_for_update()))
