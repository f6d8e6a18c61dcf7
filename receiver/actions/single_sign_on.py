"""Users who sign in at an OpenID provider. They have a row, so that roles, audit and sign-out work, but no password.

The provider says at each sign-in who somebody is and which role they have. Who has no role is not let in, and their
sessions end. Another role ends the older sessions, too. `users disable` keeps somebody out whatever the provider says.

A row is found by the provider's issuer and subject, never by a name: the provider may give a name to somebody else, and
must not lead into the account of a person with a password. A name that is taken is not given again.
"""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.actions.users import insert_user, let_in
from receiver.database.engine import writing
from receiver.settings.values import LONGEST_USER_NAME, is_user_name
from receiver.store.audit import record, write_sums
from receiver.store.inbox import Inbox
from receiver.store.models import User
from receiver.store.tally import Key

WAY = "by OpenID Connect"
ACTOR = "OpenID provider"
NO_ROLE, DISABLED = "no_role", "disabled"
MOST_NAMESAKES = 100


class Identity(NamedTuple):
    """What the provider says of somebody."""

    issuer: str
    subject: str
    names: tuple[str, ...]  # how they may be called here, the best first
    role: str | None  # operator, viewer or none

    @property
    def key(self) -> str:
        """By which their row is found."""
        return f"{self.issuer} {self.subject}"


class NotLetIn(Exception):
    """The provider knows them, and they may not enter. `reason` is NO_ROLE or DISABLED."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def sign_in(inbox: Inbox, identity: Identity, *, request_id: str) -> User:
    """The user, with the role that the provider says now. Raises NotLetIn."""
    with writing(inbox.engine) as session:
        user, reason = _admitted(session, inbox, identity, request_id)
        if user is not None:
            return let_in(session, inbox, user, way=WAY, request_id=request_id)
    raise NotLetIn(reason)


def note_failure(inbox: Inbox, reason: str, *, request_id: str) -> bool:
    """Note a sign-in that failed. False for one of many in this minute, which is only counted."""
    if not inbox.tally.admits(Key("failed", action="sign_in"), inbox.clock.now()):
        return False
    with inbox.tally.finished_sums(inbox.clock.now()) as sums, writing(inbox.engine) as session:
        write_sums(session, inbox, sums)
        record(session, inbox, "sign_in", "failed", request_id=request_id, detail=f"{WAY}: {reason}")
    return True


def _admitted(session: Session, inbox: Inbox, identity: Identity, request_id: str) -> tuple[User | None, str]:
    known = session.scalar(sa.select(User).where(User.identity == identity.key).with_for_update())
    if known is not None and known.role != identity.role:
        _take_role(session, inbox, known, identity.role, request_id)
    if identity.role is None:
        return None, NO_ROLE
    if known is None:
        return _added(session, inbox, identity, identity.role, request_id), ""
    return (known, "") if known.active else (None, DISABLED)


def _take_role(session: Session, inbox: Inbox, known: User, role: str | None, request_id: str) -> None:
    """Their sessions end. Without a role the row keeps the last one: nobody signs in by it."""
    known.generation += 1
    if role is not None:
        known.role = role
        told = f"user {known.id}: {known.name}"
        record(session, inbox, "users", f"role: {role}", actor=ACTOR, request_id=request_id, detail=told)


def _added(session: Session, inbox: Inbox, identity: Identity, role: str, request_id: str) -> User:
    for name in _free_names(identity):
        known_by = {"identity": identity.key}
        added = insert_user(session, inbox, name, role=role, actor=ACTOR, request_id=request_id, **known_by)
        if added is not None:
            return added
    raise NotLetIn(DISABLED)


def _free_names(identity: Identity) -> list[str]:
    """The names to try: those that the provider says, then with a number."""
    usable = [name for name in identity.names if is_user_name(name)] or ["user"]
    stem = usable[0][: LONGEST_USER_NAME - 4]
    return [*usable, *(f"{stem} {number}" for number in range(2, MOST_NAMESAKES))]
