"""Writes again what is stored: with the newest key everything that is sealed, and payloads by the present masks.

It works in bounded batches, each a transaction of its own, so it can be stopped and started again. To add another
rewriting of payloads, write a function that changes one row, given its clear text. If another column of ours is sealed,
add it to `FEW`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.columns import ReceiverBase
from receiver.database.engine import writing
from receiver.database.sealed_text import SealedRows, sealed_tables
from receiver.privacy.sealing import CannotUnseal, seal, sealing_key_id, unseal
from receiver.store.inbox import Inbox
from receiver.store.masked import masked_body
from receiver.store.models import AppliedSettings, CapturedDelivery, PersonHold, StoredEvent, User

BATCH = 500


class Sealed(NamedTuple):
    """A sealed column of a table of ours, and the column to whose value it is bound."""

    model: type[ReceiverBase]
    column: str
    bound_to: str


FEW = (
    Sealed(User, "sealed_second_factor", "second_factor_row"),
    Sealed(CapturedDelivery, "sealed_request", "seal_id"),
    Sealed(PersonHold, "sealed_value", "seal_id"),
    Sealed(AppliedSettings, "sealed_settings", "seal_id"),
)
"""What is sealed beside payloads. These tables have few rows, so a transaction is enough for each."""


@dataclass
class Rewritten:
    """How much was written again, and how much can't be opened with any of PAYLOAD_KEYS, by where it is."""

    done: int = 0
    unreadable_in: Counter[str] = field(default_factory=Counter)

    @property
    def unreadable(self) -> int:
        """How much in all."""
        return self.unreadable_in.total()


def reseal(inbox: Inbox) -> Rewritten:
    """Seal everything that is sealed with the newest of PAYLOAD_KEYS, after a rotation."""
    keys = inbox.settings.payload_keys

    def seal_again(row: StoredEvent, body: bytes) -> None:
        row.sealed_payload, row.sealing_key = seal(body, row=row.seal_id, keys=keys), keys[0].id

    total = _rewrite(inbox, StoredEvent.sealing_key != keys[0].id, seal_again)
    for which in FEW:
        _reseal_few(inbox, which, total)
    there = sa.inspect(inbox.engine)
    for rows in sealed_tables():
        if there.has_table(rows.table.name, rows.table.schema):  # before its migration it holds nothing
            _reseal_texts(inbox, rows, total)
    return total


def remask(inbox: Inbox) -> Rewritten:
    """Mask every payload by the present rules, as long as its sealed form is kept."""

    def mask_again(row: StoredEvent, body: bytes) -> None:
        row.masked_payload = masked_body(inbox.settings, body, is_ours=row.is_follow_up, is_parsed=row.parsed)

    return _rewrite(inbox, StoredEvent.sealed_payload.is_not(None), mask_again)


def _rewrite(inbox: Inbox, which: sa.ColumnElement[bool], change: Callable[[StoredEvent, bytes], None]) -> Rewritten:
    total, after = Rewritten(), 0
    while True:
        with writing(inbox.engine) as session:
            rows = next_rows(session, which, after)
            for row in rows:
                after = row.id
                try:
                    change(row, unseal(row.sealed_payload or b"", row=row.seal_id, keys=inbox.settings.payload_keys))
                    total.done += 1
                except CannotUnseal:
                    total.unreadable_in[StoredEvent.__tablename__] += 1
        if not rows:
            return total


def next_rows(session: Session, which: sa.ColumnElement[bool], after: int) -> list[StoredEvent]:
    """The next rows, locked: a redelivery that seals a row anew at this moment must not be overwritten."""
    statement = sa.select(StoredEvent).where(which, StoredEvent.id > after).order_by(StoredEvent.id)
    return list(session.scalars(statement.limit(BATCH).with_for_update()))


def _reseal_few(inbox: Inbox, which: Sealed, total: Rewritten) -> None:
    keys = inbox.settings.payload_keys
    with writing(inbox.engine) as session:
        is_sealed = getattr(which.model, which.column).is_not(None)
        for row in session.scalars(sa.select(which.model).where(is_sealed).with_for_update()):
            sealed, bound_to = getattr(row, which.column), getattr(row, which.bound_to)
            try:
                if sealing_key_id(sealed) != keys[0].id:
                    setattr(row, which.column, seal(unseal(sealed, row=bound_to, keys=keys), row=bound_to, keys=keys))
                    total.done += 1
            except CannotUnseal:
                total.unreadable_in[which.model.__tablename__] += 1


def _reseal_texts(inbox: Inbox, texts: SealedRows, total: Rewritten) -> None:
    after: Sequence[object] | None = None
    while True:
        with writing(inbox.engine) as session:
            rows = session.execute(texts.page(after, BATCH)).all()
            for row in rows:
                after = texts.key_of(row)
                for column, kept in texts.ciphertexts(row):
                    try:
                        change = texts.resealed(column, after, kept, inbox.settings.payload_keys)
                    except CannotUnseal:
                        total.unreadable_in[str(column)] += 1
                        continue
                    if change is not None:
                        total.done += session.connection().execute(change).rowcount
        if len(rows) < BATCH:
            return
