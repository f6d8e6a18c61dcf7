"""Who may sign in by a name and a password, and which sessions are valid.

Each session has an ID of its own and its user's `generation`. Signing out ends the session with that ID, so a copy of
its cookie is worth nothing. An act that must end all sessions of a user raises the generation: a new password, another
role, a disabled user, "sign out everywhere". To add such an act, call `change()`.

How many tries a stranger has is said in tries.py. A password is compared slowly by design, beside the event loop, one
at a time. When too many are waiting, a new try is refused.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session
from werkzeug.security import check_password_hash, generate_password_hash

from receiver.actions import tries
from receiver.database.engine import reading, writing
from receiver.database.insert import insert_into
from receiver.green import Lane
from receiver.settings.values import LONGEST_USER_NAME, is_user_name
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.models import EndedSession, User

T = TypeVar("T")

SHORTEST_PASSWORD = 12


class AccountError(Exception):
    """The act can't be done. The message says why."""


def sign_in(inbox: Inbox, name: str, password: str, *, comparisons: Lane, address: str, request_id: str) -> User | None:
    """The user whose password this is. One with a second factor is not signed in yet: a code has to follow.

    Raises Crowded when too many comparisons are waiting.
    """

    def act(session: Session, user: User) -> User:
        if user.second_factor_at is None:
            return let_in(session, inbox, user, way="by password", request_id=request_id)
        record(session, inbox, "sign_in", "a code has to follow", actor=user.name, request_id=request_id)
        return user

    return with_password(inbox, name, password, act, comparisons=comparisons, address=address, request_id=request_id)


def with_password(
    inbox: Inbox,
    name: str,
    password: str,
    act: Callable[[Session, User], T],
    *,
    comparisons: Lane,
    address: str,
    request_id: str,
) -> T | None:
    """What `act` returns if the password is that of the user. None after a refusal.

    The slow comparison holds no lock, and takes as long for an unknown name. Raises Crowded when too many comparisons
    are waiting.
    """
    sources = tries.sources_of_name(inbox, address, name)
    known = _user_with_password(inbox, name)
    who = tries.Who(request_id, known.id if known else None)
    if tries.are_used_up(inbox, sources):
        tries.refuse(inbox, sources, who)
        return None
    hashed = known.password_hash if known else None
    right = comparisons.result(
        lambda: check_password_hash(hashed or _nobodys_hash(), password), caller=sources[-1].digest
    )

    def admit(session: Session) -> T | None:
        user = _unchanged(session, known) if known and right else None
        return act(session, user) if user else None

    return tries.decide(inbox, sources, admit, who)


def sign_out(inbox: Inbox, user_id: int, session_id: str, *, everywhere: bool, request_id: str) -> None:
    """End this session of the user; everywhere: end every session of theirs."""
    with writing(inbox.engine) as session:
        user = session.get_one(User, user_id)
        if everywhere:
            session.execute(sa.update(User).where(User.id == user_id).values(generation=User.generation + 1))
        session.execute(sa.delete(EndedSession).where(EndedSession.ends_at < inbox.now()))
        ended = {"session_id": session_id, "ends_at": inbox.now(plus=inbox.settings.session_length.total_seconds())}
        session.execute(insert_into(EndedSession, inbox.engine.dialect.name).values(ended).on_conflict_do_nothing())
        result = "signed out everywhere" if everywhere else "signed out"
        record(session, inbox, "sign_out", result, actor=user.name, request_id=request_id)


def signed_in_user(inbox: Inbox, user_id: int, session_id: str, *, generation: int | None) -> User | None:
    """The user of a session, if the session still holds."""
    with reading(inbox.engine) as session:
        ended = sa.exists().where(EndedSession.session_id == session_id)
        holds = User.active, User.generation == generation, ~ended
        return session.scalar(sa.select(User).where(User.id == user_id, *holds))


def all_users(inbox: Inbox) -> Sequence[User]:
    """Every user, disabled ones too, by name."""
    with reading(inbox.engine) as session:
        return session.scalars(sa.select(User).order_by(User.name)).all()


def add(inbox: Inbox, name: str, password: str, *, role: str, actor: str, replace: bool = False) -> None:
    """Add a user; `replace` gives an existing one the new password and role. Raises AccountError."""
    checked_name(name)
    hashed = hash_of(password)
    with writing(inbox.engine) as session:
        if insert_user(session, inbox, name, role=role, actor=actor, password_hash=hashed) is not None:
            return
    if not replace:
        raise AccountError(f"{name} exists. `users passwd` sets a new password, `users add --replace` also the role.")
    _change_password(inbox, name, hashed, f"replaced: {role}", actor=actor, role=role, active=True)


def insert_user(
    session: Session, inbox: Inbox, name: str, *, role: str, actor: str, request_id: str | None = None, **known_by: str
) -> User | None:
    """Add a user, known by `password_hash` or by `identity`, in this transaction. None if the name is taken."""
    row = {"name": name, "role": role, "created_at": inbox.now(), **known_by}
    insert = insert_into(User, inbox.engine.dialect.name).values(row)
    added: User | None = session.scalar(insert.on_conflict_do_nothing(index_elements=["name"]).returning(User))
    if added is not None:
        told = f"user {added.id}: {name}, {role}"
        record(session, inbox, "users", "added", actor=actor, detail=told, request_id=request_id)
    return added


def change_password(inbox: Inbox, name: str, password: str, *, actor: str) -> None:
    """Set a new password. Raises AccountError."""
    _change_password(inbox, name, hash_of(password), "password changed", actor=actor)


def _change_password(inbox: Inbox, name: str, hashed: str, result: str, *, actor: str, **values: Any) -> None:
    """Or who signs in at the provider would have a second way in, which its administrator could not close."""

    def check(session: Session, user_id: int) -> None:
        if session.scalar(sa.select(User.identity).where(User.id == user_id)) is not None:
            raise AccountError(f"{name} has no password: they sign in at the OpenID provider.")

    change(inbox, name, result, actor=actor, also=check, password_hash=hashed, **values)


def disable(inbox: Inbox, name: str, *, actor: str) -> None:
    """Disable the user. Raises AccountError."""
    change(inbox, name, "disabled", actor=actor, active=False)


def enable(inbox: Inbox, name: str, *, actor: str) -> None:
    """Enable the user again, and forget the tries of others with the name. Raises AccountError."""
    change(inbox, name, "enabled", actor=actor, active=True)


def change(
    inbox: Inbox,
    name: str,
    result: str,
    *,
    actor: str,
    also: Callable[[Session, int], None] | None = None,
    **values: Any,
) -> None:
    """Change the user, and what `also` does by their number. It ends all their sessions. Raises AccountError."""
    if not is_user_name(name):
        raise AccountError("There is no such user.")
    with writing(inbox.engine) as session:
        changed = sa.update(User).where(User.name == name).values(**values, generation=User.generation + 1)
        user_id = session.scalar(changed.returning(User.id))
        if user_id is None:
            raise AccountError("There is no such user.")
        if also:
            also(session, user_id)
        tries.forget(session, inbox, name, user_id)
        record(session, inbox, "users", result, actor=actor, detail=f"user {user_id}: {name}")


@cache
def _nobodys_hash() -> str:
    """Made at the first need: it takes a tenth of a second, and no other process than a web process needs it."""
    return generate_password_hash("the hash of a user who does not exist")


def _user_with_password(inbox: Inbox, name: str) -> User | None:
    if not is_user_name(name):
        return None
    with reading(inbox.engine) as session:
        named = User.name == name, User.active, User.password_hash.is_not(None)
        return session.scalar(sa.select(User).where(*named))


def _unchanged(session: Session, known: User) -> User | None:
    """The user as of now, unless disabled or given another password while the comparison ran."""
    same = User.id == known.id, User.active, User.password_hash == known.password_hash
    return session.scalar(sa.select(User).where(*same))


def let_in(session: Session, inbox: Inbox, user: User, *, way: str, request_id: str) -> User:
    """Note that the user signs in, and on which way."""
    session.execute(sa.update(User).where(User.id == user.id).values(last_sign_in_at=inbox.now()))
    record(session, inbox, "sign_in", "signed in", actor=user.name, request_id=request_id, detail=way)
    return user


def checked_name(name: str) -> str:
    """The name. Raises AccountError if nobody can have it."""
    if not is_user_name(name):
        raise AccountError(f"A name has 1 to {LONGEST_USER_NAME} visible characters.")
    return name


def hash_of(password: str) -> str:
    """What is kept of a password. It is slow by design. Raises AccountError for one that is too short."""
    if len(password) < SHORTEST_PASSWORD:
        raise AccountError(f"A password needs at least {SHORTEST_PASSWORD} characters.")
    try:
        return generate_password_hash(password)
    except UnicodeEncodeError:
        raise AccountError("A password has to be text: it holds half of a character.") from None
