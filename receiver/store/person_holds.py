"""Whose payloads have to stay, whatever retention says: people on hold, such as in a dispute at court.

A hold keeps the value sealed, and not its digests. So it protects the person's events under every key of the index. A
hold that can't be opened, or an index that is turned off, stops retention: nobody could tell whom it would erase.
"""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.config import Settings
from receiver.privacy.person import Person
from receiver.privacy.sealing import unseal
from receiver.store.models import PersonEntry, PersonHold, StoredEvent


class HoldsUnknown(Exception):
    """There are holds, but SUBJECT_FIELDS is empty: nobody can tell which events they protect."""

    def __init__(self) -> None:
        super().__init__("there are holds, but SUBJECT_FIELDS is empty")


def held_digests(session: Session, settings: Settings) -> frozenset[bytes]:
    """What the index has of everybody on hold. Raises HoldsUnknown, and CannotUnseal."""
    holds = session.scalars(sa.select(PersonHold)).all()
    if holds and settings.person_index is None:
        raise HoldsUnknown
    return frozenset[bytes]().union(*(person_of(settings, hold).digests for hold in holds))


def person_of(settings: Settings, hold: PersonHold) -> Person:
    """Who is on hold. Raises HoldsUnknown, and CannotUnseal."""
    if settings.person_index is None:
        raise HoldsUnknown
    value = unseal(hold.sealed_value, row=hold.seal_id, keys=settings.payload_keys)
    return settings.person_index.person(value.decode(errors="surrogatepass"))


def is_held(digests: frozenset[bytes]) -> sa.ColumnElement[bool]:
    """Whether an event, or the event that a follow-up comes from, names one of these people."""
    if not digests:
        return sa.false()
    naming = sa.select(PersonEntry.inbox_id).where(
        PersonEntry.inbox_id.in_([StoredEvent.id, StoredEvent.caused_by]), PersonEntry.digest.in_(digests)
    )
    return naming.exists()
