"""Writes the entries of the index of people, in the transaction of the event that they lead to.

An event gets them when it is kept: at the door (a new event in its group, by the stores of receiver/ingest), as a
follow-up, or when a replay can read it for the first time. They go with its payload.
"""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.config import Settings
from receiver.database.insert import insert_into, parameters
from receiver.store.models import PersonEntry, StoredEvent

COLUMNS = ("digest", "inbox_id", "kind", "key_id")


def write_entries(session: Session, settings: Settings, inbox_id: int, payload: Mapping[str, Any] | None) -> None:
    """Let the event be found by the people that its payload names. None: nobody could read it."""
    write_entries_of(session, settings, {inbox_id: payload})


def write_entries_of(session: Session, settings: Settings, payloads: Mapping[int, Mapping[str, Any] | None]) -> None:
    """The same for several events, by their numbers."""
    index = settings.person_index
    if index is None:
        return
    rows = [
        entry._asdict() | {"inbox_id": inbox_id}
        for inbox_id, payload in payloads.items()
        if payload is not None
        for entry in index.entries(payload)
    ]
    if rows:
        connection = session.connection()
        connection.execute(_insert(connection.dialect.name), rows)


def forget_entries(session: Session, rows: Collection[int]) -> None:
    """Delete the entries of these events."""
    _delete(session, PersonEntry.inbox_id.in_(rows))


def forget_tombstones(session: Session, rows: Collection[int]) -> None:
    """Delete the entries of those of these events that have no payload any more."""
    erased = sa.select(StoredEvent.id).where(
        StoredEvent.id.in_(rows), StoredEvent.sealed_payload.is_(None), StoredEvent.masked_payload.is_(None)
    )
    _delete(session, PersonEntry.inbox_id.in_(erased))


def _delete(session: Session, which: sa.ColumnElement[bool]) -> None:
    session.execute(sa.delete(PersonEntry).where(which), execution_options={"synchronize_session": False})


@cache
def _insert(dialect: str) -> sa.Executable:
    table: Any = PersonEntry.__table__
    insert: sa.Executable = insert_into(table, dialect).values(parameters(table, COLUMNS)).on_conflict_do_nothing()
    return insert
