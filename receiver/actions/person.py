"""What an operator does for one person (PDPA): find, export, hold and release. erasure.py erases.

Each act needs a reason, and is an audit row and a line in the log. Both name the person by a short form of their value
(receiver/privacy/person.py), never by the value. The reason is masked, and the value in it is hidden.

    CannotAct      unfit, empty or no_reason; held or not_held; eraser_failed
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.engine import reading, writing
from receiver.privacy.masking import mask_text
from receiver.privacy.person import Person
from receiver.privacy.sealing import CannotUnseal, seal
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.json_body import parse_value, to_json
from receiver.queries.person import (
    Found,
    People,
    blind_spots,
    events_of,
    find_person,
    index_of,
    naming_others,
    people_between,
)
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.models import PersonHold, StoredEvent
from receiver.store.opened import opened
from receiver.store.person_holds import held_digests, person_of

ACTION = "person"
"""The action of the audit rows."""


def number_of(things: int, what: str) -> str:
    """Such as `1 event` or `2,500 events`."""
    return f"{things:,} {what}{'' if things == 1 else 's'}"


class CannotAct(Exception):
    """Nothing was done. `reason` is a stable code, the message a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Act:
    """Who acts for whom, and why."""

    def __init__(self, inbox: Inbox, value: str, *, actor: str, reason: str, request_id: str | None = None) -> None:
        """Raises NoIndex where SUBJECT_FIELDS is empty, and CannotAct."""
        index, value, reason = index_of(inbox.settings), value.strip(), reason.strip()
        if not value:
            raise CannotAct("empty", "Say whose data it is.")
        if not reason:
            raise CannotAct("no_reason", "Say why. The audit log keeps the reason.")
        self.person: Person = index.person(value)
        if not self.person.digests:
            kinds = ", ".join(sorted({field.kind for field in index.fields}))
            raise CannotAct("unfit", f"No field of SUBJECT_FIELDS holds such a value. Its kinds are: {kinds}.")
        self.inbox, self._actor, self._request_id = inbox, actor, request_id
        self.actor, self.reason = actor, mask_text(reason, hidden=[value])

    def record(self, session: Session, result: str, words: str = "") -> None:
        """Note it in the audit log, in the session's transaction."""
        detail = f"{self.person.name}{words and f', {words}'}: {self.reason}"
        record(
            session, self.inbox, ACTION, result, actor=self.actor, request_id=self._request_id, detail=detail
        )  # fmt: skip


def find(act: Act) -> Found:
    """What is known of the person."""
    with writing(act.inbox.engine) as session:
        act.record(session, "found")
    return look(act)


def look(act: Act) -> Found:
    """The same once more, for who has just been told: it is no act."""
    with reading(act.inbox.engine) as session:
        return find_person(session, act.inbox.settings, act.person)


def holds(inbox: Inbox) -> Sequence[PersonHold]:
    """Everybody on hold, the newest hold first."""
    with reading(inbox.engine) as session:
        return session.scalars(sa.select(PersonHold).order_by(PersonHold.id.desc())).all()


def is_on_hold(act: Act) -> bool:
    """Whether retention and erasures leave the person's events alone. Raises CannotUnseal."""
    with reading(act.inbox.engine) as session:
        return bool(act.person.digests & held_digests(session, act.inbox.settings))


def hold(act: Act) -> bool:
    """Let retention and erasures leave the person's events alone. False when it is so already."""
    if is_on_hold(act):
        return False
    settings, seal_id = act.inbox.settings, uuid4()
    value = act.person.value.encode(errors="surrogatepass")
    with writing(act.inbox.engine) as session:
        session.execute(
            sa.insert(PersonHold).values(
                name=act.person.name, held_at=act.inbox.now(), held_by=act.actor, reason=act.reason, seal_id=seal_id,
                sealed_value=seal(value, row=seal_id, keys=settings.payload_keys),
            )
        )  # fmt: skip
        act.record(session, "held")
    return True


def release(act: Act) -> None:
    """End the hold. Raises CannotAct where there is none."""
    settings = act.inbox.settings
    with writing(act.inbox.engine) as session:
        found = session.scalars(sa.select(PersonHold)).all()
        held = [hold for hold in found if person_of(settings, hold).digests & act.person.digests]
        if not held:
            raise CannotAct("not_held", "This person is not on hold.")
        for hold in held:
            session.delete(hold)
        act.record(session, "released")


def count(inbox: Inbox, since: datetime, until: datetime, *, actor: str, request_id: str | None = None) -> People:
    """How many people a breach concerns that reached what was received between these moments. Raises NoIndex."""
    with writing(inbox.engine) as session:
        record(
            session, inbox, ACTION, "people counted", actor=actor, request_id=request_id,
            detail=f"received from {since.isoformat()} until {until.isoformat()}",
        )  # fmt: skip
    with reading(inbox.engine) as session:
        return people_between(session, inbox.settings, since, until)


def export(act: Act) -> Iterator[str]:
    """Everything that is known of the person, as one JSON document in pieces. The act is committed before the first."""
    with writing(act.inbox.engine) as session:
        act.record(session, "exported")
    return _document(act)


def _document(act: Act) -> Iterator[str]:
    inbox, after = act.inbox, 0
    with reading(inbox.engine) as session:
        blind = blind_spots(session, inbox.settings).words()
    about = {"person": act.person.name, "made_at": inbox.clock.now().isoformat(), "not_seen": blind}
    yield to_json(about, indent=2).removesuffix("\n}") + ',\n  "events": ['
    separator = "\n"
    while True:
        with reading(inbox.engine) as session:
            numbers = events_of(session, act.person, after=after)
            others = naming_others(session, act.person, numbers)
            wanted = sa.select(StoredEvent).where(StoredEvent.id.in_(numbers)).order_by(StoredEvent.id)
            rows = session.scalars(wanted).all()
        for row in rows:
            yield separator + to_json(_told(inbox, row, names_others=row.id in others), indent=2)
            separator = ",\n"
        if not numbers:
            yield "\n  ]\n}\n"
            return
        after = numbers[-1]


def _told(inbox: Inbox, row: StoredEvent, *, names_others: bool) -> dict[str, object]:
    """One event, for the person that it is about."""
    payload, note = _payload(inbox, row)
    return {
        "event_id": row.event_id or row.stated_event_id,
        "event_type": row.event_type,
        "occurred_at": row.occurred_at and row.occurred_at.isoformat(),
        "received_at": row.received_at.isoformat(),
        "state": row.state,
        "transaction_id": row.transaction_id,
        "policy_id": row.policy_id,
        "claim_id": row.claim_id,
        "status": row.reported_status,
        "follow_up_of": row.caused_by and f"#{row.caused_by}",
        "also_names_others": names_others,
        "payload": payload,
        "note": note,
    }


def _payload(inbox: Inbox, row: StoredEvent) -> tuple[object, str | None]:
    """What was sent, in clear text; or what is left of it, and why."""
    if row.sealed_payload is None:
        masked = None if row.masked_payload is None else parse_value(row.masked_payload)
        return masked, "Retention erased the payload. This is its masked form." if masked else "The payload is gone."
    try:
        return dict(opened(inbox.settings, row).payload), None
    except UnusablePayload as error:
        return error.payload and dict(error.payload), None
    except CannotUnseal:
        return None, "No key of PAYLOAD_KEYS opens the payload."
