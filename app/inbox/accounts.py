"""Who may sign in, which sessions hold, and how many tries a stranger has.

Sessions: each carries its user's `generation`. Whatever must end sessions counts it up: a new password, another
role, a disabled user, "sign out everywhere". To add such an act: call `_change()`.

Tries: within fifteen minutes of its first refused try, an address has 10 and an account name has 50, whether or not
the name exists. What an address does beyond its 10 no longer counts against the name, so that nobody can lock an
operator out from one address: it takes five. 50 tries in fifteen minutes are no threat to twelve characters. An IPv6
address counts as its /64 network, which is what one customer gets. `users passwd` and `users enable` forget a name's
count. Stored are keyed digests and nothing that a stranger typed. Every decision is made under one lock, the row of
everyone's refusals, after the slow comparison: tries at the same time, in whichever process, are counted one by one.
That row also keeps floods out of the audit log: beyond 30 refusals in a window the rest become one row with a count.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from werkzeug.security import check_password_hash, generate_password_hash

from app.database import reading, writing
from app.inbox.audit import record
from app.inbox.context import Inbox
from app.inbox.models import SignInFailures, User
from app.privacy.sealing import body_digest

TRIES_OF_ADDRESS = 10
TRIES_OF_NAME = 50
WINDOW = timedelta(minutes=15)
AUDITED_REFUSALS = 30
SHORTEST_PASSWORD = 12
LONGEST_NAME = 100
_EVERYONE = "everyone"


class AccountError(Exception):
    """What was asked for can't be done; the message says why."""


def sign_in(inbox: Inbox, name: str, password: str, *, address: str, request_id: str) -> User | None:
    """The user whose password this is. The slow comparison holds no lock, and takes as long for nobody."""
    known = _active_user(inbox, name)
    right = check_password_hash(known.password_hash if known else _nobodys_hash(), password)
    with writing(inbox.engine) as session:
        everyone = _everyones_failures(session, inbox)
        of_address, of_name = (_failures(session, inbox, source) for source in _sources(inbox, address, name))
        limited = of_address.failures >= TRIES_OF_ADDRESS or of_name.failures >= TRIES_OF_NAME
        if known is not None and right and not limited and (user := _unchanged(session, known)) is not None:
            record(session, inbox, "sign_in", "signed in", actor=user.name, request_id=request_id)
            return user
        if of_address.failures < TRIES_OF_ADDRESS:
            of_name.failures += 1
        of_address.failures += 1
        everyone.failures += 1
        if everyone.failures <= AUDITED_REFUSALS:
            detail = f"user {known.id}" if known else None
            record(session, inbox, "sign_in", "limited" if limited else "failed", request_id=request_id, detail=detail)
    return None


def sign_out(inbox: Inbox, user_id: int, *, everywhere: bool, request_id: str) -> None:
    """Note that the user signs out; everywhere: end every session of theirs."""
    with writing(inbox.engine) as session:
        user = session.get_one(User, user_id)
        if everywhere:
            session.execute(sa.update(User).where(User.id == user_id).values(generation=User.generation + 1))
        result = "signed out everywhere" if everywhere else "signed out"
        record(session, inbox, "sign_out", result, actor=user.name, request_id=request_id)


def signed_in_user(inbox: Inbox, user_id: int, *, generation: int | None) -> User | None:
    """The user of a session, if the session still holds."""
    with reading(inbox.engine) as session:
        holds = User.active, User.generation == generation
        return session.scalar(sa.select(User).where(User.id == user_id, *holds))


def all_users(inbox: Inbox) -> Sequence[User]:
    """Every user, disabled ones too, by name."""
    with reading(inbox.engine) as session:
        return session.scalars(sa.select(User).order_by(User.name)).all()


def add(inbox: Inbox, name: str, password: str, *, role: str, actor: str, replace: bool = False) -> None:
    """Add a user; `replace` gives an existing one the new password and role. Raises AccountError."""
    if not _usable(name):
        raise AccountError(f"A name has 1 to {LONGEST_NAME} visible characters.")
    hashed = _hashed(password)
    row = {"name": name, "password_hash": hashed, "role": role, "created_at": inbox.now()}
    with writing(inbox.engine) as session:
        added = session.scalar(_insert(inbox)(User).values(row).on_conflict_do_nothing().returning(User.id))
        if added is not None:
            record(session, inbox, "users", "added", actor=actor, detail=f"user {added}: {name}, {role}")
            return
    if not replace:
        raise AccountError(f"{name} exists. `users passwd` sets a new password, `users add --replace` also the role.")
    _change(inbox, name, f"replaced: {role}", actor=actor, password_hash=hashed, role=role, active=True)


def change_password(inbox: Inbox, name: str, password: str, *, actor: str) -> None:
    """Set a new password. Raises AccountError."""
    _change(inbox, name, "password changed", actor=actor, password_hash=_hashed(password))


def disable(inbox: Inbox, name: str, *, actor: str) -> None:
    """Let the user in no more. Raises AccountError."""
    _change(inbox, name, "disabled", actor=actor, active=False)


def enable(inbox: Inbox, name: str, *, actor: str) -> None:
    """Let the user in again, whatever tries others made under the name. Raises AccountError."""
    _change(inbox, name, "enabled", actor=actor, active=True)


def _change(inbox: Inbox, name: str, result: str, *, actor: str, **values: Any) -> None:
    if not _usable(name):
        raise AccountError("There is no such user.")
    with writing(inbox.engine) as session:
        change = sa.update(User).where(User.name == name).values(**values, generation=User.generation + 1)
        user_id = session.scalar(change.returning(User.id))
        if user_id is None:
            raise AccountError("There is no such user.")
        session.execute(sa.delete(SignInFailures).where(SignInFailures.source == _digest(inbox, "name", name)))
        record(session, inbox, "users", result, actor=actor, detail=f"user {user_id}: {name}")


@cache
def _nobodys_hash() -> str:
    """Made at the first need: it takes a tenth of a second, and no other process than a web process needs it."""
    return generate_password_hash("the hash of a user who does not exist")


def _active_user(inbox: Inbox, name: str) -> User | None:
    if not _usable(name):
        return None
    with reading(inbox.engine) as session:
        return session.scalar(sa.select(User).where(User.name == name, User.active))


def _unchanged(session: Session, known: User) -> User | None:
    """The user as of now, unless disabled or given another password while the comparison ran."""
    same = User.id == known.id, User.active, User.password_hash == known.password_hash
    return session.scalar(sa.select(User).where(*same))


def _everyones_failures(session: Session, inbox: Inbox) -> SignInFailures:
    """The lock, held until the transaction ends. Windows that are over are summed up and forgotten."""
    everyone = _failures(session, inbox, _EVERYONE)
    now = session.execute(sa.select(inbox.now())).scalar_one()
    if everyone.ends_at <= now:
        if (unwritten := everyone.failures - AUDITED_REFUSALS) > 0:
            record(session, inbox, "sign_in", "failed", occurrences=unwritten, detail="summed")
        everyone.failures, everyone.ends_at = 0, now + WINDOW
    session.flush()
    session.execute(sa.delete(SignInFailures).where(SignInFailures.ends_at <= now))
    return everyone


def _failures(session: Session, inbox: Inbox, source: str) -> SignInFailures:
    """The count of a source, made if need be, and locked."""
    row = {"source": source, "failures": 0, "ends_at": inbox.now(plus=WINDOW.total_seconds())}
    same = {"failures": SignInFailures.failures}
    insert = _insert(inbox)(SignInFailures).values(row).on_conflict_do_update(index_elements=["source"], set_=same)
    counted: SignInFailures = session.scalars(insert.returning(SignInFailures)).one()
    return counted


def _sources(inbox: Inbox, address: str, name: str) -> tuple[str, str]:
    network = address
    with suppress(ValueError):
        parsed = ip_address(address)
        if isinstance(parsed, IPv6Address):
            network = str(parsed.ipv4_mapped or ip_network(f"{parsed}/64", strict=False))
    return _digest(inbox, "address", network), _digest(inbox, "name", name)


def _digest(inbox: Inbox, kind: str, text: str) -> str:
    return body_digest(f"sign-in {kind}: {text}".encode(), inbox.settings.payload_keys)


def _insert(inbox: Inbox) -> Any:
    return postgresql.insert if inbox.engine.dialect.name == "postgresql" else sqlite.insert


def _usable(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip()


def _hashed(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise AccountError(f"A password needs at least {SHORTEST_PASSWORD} characters.")
    return generate_password_hash(password)
