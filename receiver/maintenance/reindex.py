"""Builds the index of people anew from the payloads: after a change of SUBJECT_FIELDS, or for a new index key.

It works in bounded batches, each a transaction of its own, so it can be stopped and started again. An event whose
payload retention has erased keeps the entries that it has, under the key that they were made with. Entries under a key
that is in SUBJECT_INDEX_KEYS no more are deleted: nobody can find anything by them. Where SUBJECT_FIELDS is empty, that
is all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.engine import writing
from receiver.database.insert import insert_into
from receiver.maintenance.rewrite import BATCH, next_rows
from receiver.privacy.sealing import CannotUnseal
from receiver.protocol.errors import UnusablePayload
from receiver.store.inbox import Inbox
from receiver.store.models import PersonEntry, PersonIndexBuilt, StoredEvent
from receiver.store.opened import opened
from receiver.store.person_holds import held_digests
from receiver.store.person_index import forget_entries, write_entries_of


@dataclass
class Reindexed:
    """What was done."""

    events: int = 0  # whose payload was read
    unreadable: int = 0  # payloads that no key opens
    removed: int = 0  # entries under keys that are gone
    older_keys: int = 0  # entries that stay under an older key: their payload is gone


def reindex(inbox: Inbox) -> Reindexed:
    """Build the index anew. Raises HoldsUnknown where SUBJECT_FIELDS is empty, but somebody is on hold."""
    done, after = Reindexed(), 0
    with writing(inbox.engine) as session:
        held_digests(session, inbox.settings)
    index = inbox.settings.person_index
    while index:
        with writing(inbox.engine) as session:
            rows = next_rows(session, StoredEvent.sealed_payload.is_not(None), after)
            _index_again(session, inbox, rows, done)
        if not rows:
            break
        after = rows[-1].id
    _forget_keys(inbox, index.key_ids if index else (), done)
    if index:
        _note_built(inbox, index.fingerprint, done)
    return done


def _index_again(session: Session, inbox: Inbox, rows: Sequence[StoredEvent], done: Reindexed) -> None:
    payloads = dict[int, Mapping[str, Any] | None]()
    for row in rows:
        try:
            payloads[row.id] = _payload(inbox, row)
        except CannotUnseal:
            done.unreadable += 1
    forget_entries(session, payloads)
    write_entries_of(session, inbox.settings, payloads)
    done.events += len(payloads)


def _payload(inbox: Inbox, row: StoredEvent) -> Mapping[str, Any] | None:
    """What can be read of the row's payload. Raises CannotUnseal."""
    try:
        return opened(inbox.settings, row).payload
    except UnusablePayload as error:
        return error.payload


def _forget_keys(inbox: Inbox, known: tuple[str, ...], done: Reindexed) -> None:
    unknown = PersonEntry.key_id.not_in(known)
    while True:
        with writing(inbox.engine) as session:
            rows = session.scalars(sa.select(PersonEntry.inbox_id).where(unknown).limit(BATCH)).all()
            if not rows:
                return
            gone = sa.delete(PersonEntry).where(unknown, PersonEntry.inbox_id.in_(rows)).returning(PersonEntry.inbox_id)
            done.removed += len(session.execute(gone, execution_options={"synchronize_session": False}).all())


def _note_built(inbox: Inbox, fingerprint: str, done: Reindexed) -> None:
    newest = inbox.settings.subject_index_keys[0].id
    counted = sa.select(PersonEntry.key_id, sa.func.count().label("entries")).group_by(PersonEntry.key_id)
    with writing(inbox.engine) as session:
        by_key = {row.key_id: row.entries for row in session.execute(counted)}
        done.older_keys = sum(by_key.values()) - by_key.get(newest, 0)
        built = {"fields": fingerprint, "key_ids": sorted({*by_key, newest}), "built_at": inbox.now()}
        insert = insert_into(PersonIndexBuilt, session.get_bind().dialect.name).values(id=1, **built)
        session.execute(insert.on_conflict_do_update(index_elements=["id"], set_=built))
