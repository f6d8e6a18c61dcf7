"""Erases what is known of one person, where they ask for it (PDPA), or where nothing allows to keep it.

    find a portion of their events ─▶ lock them ─▶ the partner's `@erases` ─▶ erase ─▶ COMMIT ─▶ the next portion
    nothing is left ─▶ captured deliveries ─▶ sweep the database's files

In one transaction of a portion, the partner's own functions take the person's data out of their tables, then payloads,
references, errors and index entries go. A tombstone stays: the event's ID, its type and moments, and the keyed digest
of its body, so that a redelivery is a duplicate. It never brings anything back.

A worker that runs such an event at this moment loses its lease, and so all that its handler wrote. An event that was
still to be processed never will be: it is dismissed. An erasure that is cut off has erased whole portions: do it again.
Events that name somebody on hold, too, stay.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from receiver.actions.person import Act, CannotAct, number_of
from receiver.database.causes import is_lock_conflict
from receiver.database.columns import Base
from receiver.database.engine import reading, writing
from receiver.database.sweep import sweep
from receiver.ingest import captures
from receiver.privacy.errors import summary
from receiver.privacy.sealing import CannotUnseal
from receiver.protocol.envelope import Event
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.json_body import parse_object
from receiver.protocol.places import Beside
from receiver.queries.person import events_naming, index_of
from receiver.registry import Eraser, erasers, name_of
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import State
from receiver.store.models import CapturedDelivery, PersonEntry, StoredEvent
from receiver.store.opened import opened
from receiver.store.person_holds import held_digests, is_held
from receiver.store.person_index import forget_entries
from receiver.store.transitions import moving
from receiver.worker.session import HandlerMisuse, HandlerSession, SwallowedError, guard

MOST_TRIES = 5
"""Of a portion that another transaction is in the way of."""
SWEEP_SECONDS = 20
_NOTHING: dict[str, Any] = dict.fromkeys(
    (
        "sealed_payload", "sealing_key", "masked_payload", "transaction_id", "policy_id", "claim_id",
        "reported_status", "last_error", "cause", "cause_since", "failing_since", "due_at", "lease_token",
        "lease_until", "leased_by",
    )
)  # fmt: skip


@dataclass
class Erased:
    """What was done."""

    events: int = 0
    kept: int = 0  # events that stay: they name somebody else who is on hold
    captures: int = 0
    left: list[str] = field(default_factory=list)  # what of the database's files could not be swept, in sentences

    def words(self) -> list[str]:
        """What a person has to know of it, in sentences."""
        captures = f", and {self.captures} captured" if self.captures else ""
        kept = number_of(self.kept, "event")
        stays = [f"What also names somebody who is on hold stays: {kept}."] if self.kept else []
        return [f"Erased: {number_of(self.events, 'event')}{captures}.", *stays, *self.left]


def erase(act: Act, *, rewrite: bool = False, seconds: int = SWEEP_SECONDS) -> Erased:
    """Erase everything of the person. Raises CannotAct: `held`, or `eraser_failed`, which tells no value.

    The database's files are swept afterwards (receiver/database/sweep.py), for so many `seconds` at most (0: without a
    limit). With `rewrite`, tables are written anew.
    """
    done, after = Erased(), 0
    guard(act.inbox.engine)
    while (last := _tried_again(act, done, after)) is not None:
        after = last
        time.sleep(0)  # under gevent, deliveries have their turn
    done.captures = _erase_captures(act)
    done.left = sweep(act.inbox.engine, _tables(act.inbox), seconds=seconds, rewrite=rewrite)
    return done


def _tried_again(act: Act, done: Erased, after: int) -> int | None:
    for tries in range(1, MOST_TRIES + 1):
        try:
            return _erase_portion(act, done, after)
        except DBAPIError as error:
            if tries == MOST_TRIES or not is_lock_conflict(error):
                raise
    return None


def _erase_portion(act: Act, done: Erased, after: int) -> int | None:
    """Erase the next portion. Returns the number of its last event, None when nothing is left."""
    with writing(act.inbox.engine) as session:
        held = held_digests(session, act.inbox.settings)
        if held & act.person.digests:
            raise CannotAct("held", "This person is on hold, so nothing was erased. Release the hold first.")
        numbers = events_naming(session, act.person, after=after)
        rows = _locked(session, StoredEvent.id.in_(numbers))  # waits for a worker that settles one of them just now
        rows |= _locked(session, StoredEvent.caused_by.is_not(None), StoredEvent.caused_by.in_(numbers))
        kept = _kept(session, rows, held)
        going = [row for number, row in rows.items() if number not in kept]
        _let_partner_erase(act.inbox, session, going)
        _erase_rows(session, act.inbox, [row.id for row in going])
        if going or after == 0:
            act.record(session, "erased", number_of(len(going), "event"))
    done.events += len(going)
    done.kept += len(kept)
    return numbers[-1] if numbers else None


def _locked(session: Session, *which: sa.ColumnElement[bool]) -> dict[int, StoredEvent]:
    wanted = sa.select(StoredEvent).where(*which).order_by(StoredEvent.id).with_for_update()
    return {row.id: row for row in session.scalars(wanted)}


def _kept(session: Session, rows: Mapping[int, StoredEvent], held: frozenset[bytes]) -> set[int]:
    """Those of the rows that name somebody on hold. An event and its follow-ups stay together."""
    found = session.scalars(sa.select(StoredEvent.id).where(StoredEvent.id.in_(rows), is_held(held))).all()
    families = {rows[number].caused_by or number for number in found}
    return {number for number, row in rows.items() if (row.caused_by or number) in families}


def _let_partner_erase(inbox: Inbox, session: Session, rows: Sequence[StoredEvent]) -> None:
    """Call each function of the partner's for each event, in a session that can't end the transaction."""
    functions = erasers()
    if not (functions and rows):
        return
    theirs = HandlerSession(session.connection())
    try:
        with theirs.guarded():
            for row in rows:
                event = _event(inbox, row)
                for function in functions:
                    _call(function, event, theirs)
    except (HandlerMisuse, SwallowedError) as error:  # which it caught itself
        raise CannotAct("eraser_failed", f"A function of @erases failed, so nothing more was erased: {error}") from None
    theirs.close()


def _call(function: Eraser, event: Event, session: HandlerSession) -> None:
    try:
        function(event, session)
        session.flush()
    except DBAPIError as error:
        if is_lock_conflict(error):
            raise
        raise _failed(function, error) from None
    except Exception as error:
        raise _failed(function, error) from None


def _failed(function: Eraser, error: Exception) -> CannotAct:
    return CannotAct("eraser_failed", f"{name_of(function)} failed, so nothing more was erased: {summary(error)}.")


def _event(inbox: Inbox, row: StoredEvent) -> Event:
    """As its handler got it; or its envelope alone, where nobody can read the payload any more."""
    with suppress(CannotUnseal, UnusablePayload):
        return opened(inbox.settings, row)
    return Event(
        id=row.event_id or row.stated_event_id or "", type=row.event_type or "",
        occurred_at=row.occurred_at or row.received_at, transaction_id=row.transaction_id, policy_id=row.policy_id,
        claim_id=row.claim_id, status=row.reported_status, data={}, payload={}, received_at=row.received_at,
    )  # fmt: skip


def _erase_rows(session: Session, inbox: Inbox, rows: Sequence[int]) -> None:
    if not rows:
        return
    these, unsynchronised = StoredEvent.id.in_(rows), {"synchronize_session": False}
    session.execute(moving(State.DISMISSED, finished_at=inbox.now()).where(these), execution_options=unsynchronised)
    erased = sa.update(StoredEvent).where(these).values(**_NOTHING, erased_at=inbox.now())
    session.execute(erased, execution_options=unsynchronised)
    forget_entries(session, rows)


def _erase_captures(act: Act) -> int:
    """Captured deliveries never became events, but may name the person. There are few."""
    inbox = act.inbox
    naming = [row.id for row in captures.kept(inbox) if _names(act, row)]
    if naming:
        with writing(inbox.engine) as session:
            session.execute(sa.delete(CapturedDelivery).where(CapturedDelivery.id.in_(naming)))
            act.record(session, "erased", f"{len(naming)} captured")
    return len(naming)


def _names(act: Act, row: CapturedDelivery) -> bool:
    settings, index = act.inbox.settings, index_of(act.inbox.settings)
    with suppress(CannotUnseal, UnusablePayload):
        for kept in settings.documents(captures.open_capture(act.inbox, row).body, Beside()):
            if any(entry.digest in act.person.digests for entry in index.entries(parse_object(kept.body))):
                return True
    return False


def _tables(inbox: Inbox) -> list[str]:
    """Our tables that held something of the person, and the partner's."""
    ours = (StoredEvent.__tablename__, PersonEntry.__tablename__, CapturedDelivery.__tablename__)
    with reading(inbox.engine) as session:
        there = set(sa.inspect(session.connection()).get_table_names())
    return [*ours, *(table.name for table in Base.metadata.sorted_tables if table.name in there)]
