"""Who may sign in, which sessions are valid, and how many tries a stranger has.

Sessions: each session has an ID of its own and its user's `generation`. Signing out ends the session with that ID, so
a copy of its cookie is worth nothing. An act that must end all sessions of a user raises the generation: a new
password, another role, a disabled user, "sign out everywhere". To add such an act, call `_change()`.

Tries: within fifteen minutes of the first refused try, a name has 10 tries from one address and 50 from all addresses,
whether or not the name exists. Tries beyond the 10 don't count for the name. So nobody can lock an operator out from
one address; it takes five. 50 tries in fifteen minutes are no threat to twelve characters. An address has 30 tries in
two minutes, for all names together. Many people may share an address behind a proxy, and a stranger among them must not
keep them out for long. An IPv6 address counts as its /64 network, which is what one customer gets. `users passwd` and
`users enable` forget a name's count. The database stores keyed digests only, and nothing that a stranger typed.

A password is compared slowly by design. So the limits are checked first, and a try beyond them costs no comparison. The
comparisons run beside the event loop, one at a time. When too many are waiting, a new try is refused. Every decision is
made after the comparison, under one lock: the row of everyone's refusals. So tries at the same time, in any process,
are counted one by one. That row also keeps floods out of the audit log: beyond 30 refusals in a window, the rest become
one row with a count. The same goes for tries beyond 10 a minute that a limit refuses.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session
from werkzeug.security import check_password_hash, generate_password_hash

from receiver.database.engine import reading, writing
from receiver.database.insert import insert_into
from receiver.green import Lane
from receiver.privacy.sealing import body_digest
from receiver.settings.values import LONGEST_USER_NAME, is_user_name
from receiver.store.audit import record, write_sums
from receiver.store.inbox import Inbox
from receiver.store.models import EndedSession, SignInFailures, User
from receiver.store.tally import Key

TRIES_OF_NAME = 50
TRIES_OF_ADDRESS = 30
WINDOW = timedelta(minutes=15)
AUDITED_REFUSALS = 30
SESSION_SECONDS = 12 * 3600
SHORTEST_PASSWORD = 12
_EVERYONE = "everyone"


class _Limit(NamedTuple):
    """How many refused tries a source has, and within which time."""

    tries: int
    window: timedelta


class _Sources(NamedTuple):
    """The digests of the sources whose tries are counted, in the order of `_LIMITS`."""

    name_at_address: str
    name: str
    address: str


_LIMITS = (_Limit(10, WINDOW), _Limit(TRIES_OF_NAME, WINDOW), _Limit(TRIES_OF_ADDRESS, timedelta(minutes=2)))


class AccountError(Exception):
    """The act can't be done. The message says why."""


def sign_in(inbox: Inbox, name: str, password: str, *, comparisons: Lane, address: str, request_id: str) -> User | None:
    """The user whose password this is. The slow comparison holds no lock, and takes as long for an unknown name.

    Raises Crowded when too many comparisons are waiting.
    """
    sources = _sources(inbox, address, name)
    if _is_limited(inbox, sources):
        if inbox.tally.admits(Key("limited", action="sign_in"), inbox.clock.now()):
            _decide(inbox, sources, _active_user(inbox, name), right=False, request_id=request_id)
        return None
    known = _active_user(inbox, name)
    hashed = known.password_hash if known else None
    right = comparisons.result(lambda: check_password_hash(hashed or _nobodys_hash(), password), caller=sources.address)
    return _decide(inbox, sources, known, right=right, request_id=request_id)


def sign_out(inbox: Inbox, user_id: int, session_id: str, *, everywhere: bool, request_id: str) -> None:
    """End this session of the user; everywhere: end every session of theirs."""
    with writing(inbox.engine) as session:
        user = session.get_one(User, user_id)
        if everywhere:
            session.execute(sa.update(User).where(User.id == user_id).values(generation=User.generation + 1))
        session.execute(sa.delete(EndedSession).where(EndedSession.ends_at < inbox.now()))
        ended = {"session_id": session_id, "ends_at": inbox.now(plus=SESSION_SECONDS)}
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
        if insert_user(session, inbox, name, hashed, role=role, actor=actor):
            return
    if not replace:
        raise AccountError(f"{name} exists. `users passwd` sets a new password, `users add --replace` also the role.")
    _change(inbox, name, f"replaced: {role}", actor=actor, password_hash=hashed, role=role, active=True)


def insert_user(
    session: Session, inbox: Inbox, name: str, hashed: str, *, role: str, actor: str, request_id: str | None = None
) -> bool:
    """Add a user in this transaction. False if the name is taken."""
    row = {"name": name, "password_hash": hashed, "role": role, "created_at": inbox.now()}
    insert = insert_into(User, inbox.engine.dialect.name).values(row).on_conflict_do_nothing().returning(User.id)
    added = session.scalar(insert)
    if added is not None:
        told = f"user {added}: {name}, {role}"
        record(session, inbox, "users", "added", actor=actor, detail=told, request_id=request_id)
    return added is not None


def change_password(inbox: Inbox, name: str, password: str, *, actor: str) -> None:
    """Set a new password. Raises AccountError."""
    _change(inbox, name, "password changed", actor=actor, password_hash=hash_of(password))


def disable(inbox: Inbox, name: str, *, actor: str) -> None:
    """Disable the user. Raises AccountError."""
    _change(inbox, name, "disabled", actor=actor, active=False)


def enable(inbox: Inbox, name: str, *, actor: str) -> None:
    """Enable the user again, and forget the tries of others with the name. Raises AccountError."""
    _change(inbox, name, "enabled", actor=actor, active=True)


def _change(inbox: Inbox, name: str, result: str, *, actor: str, **values: Any) -> None:
    if not is_user_name(name):
        raise AccountError("There is no such user.")
    with writing(inbox.engine) as session:
        change = sa.update(User).where(User.name == name).values(**values, generation=User.generation + 1)
        user_id = session.scalar(change.returning(User.id))
        if user_id is None:
            raise AccountError("There is no such user.")
        session.execute(sa.delete(SignInFailures).where(SignInFailures.source == sign_in_digest(inbox, "name", name)))
        record(session, inbox, "users", result, actor=actor, detail=f"user {user_id}: {name}")


@cache
def _nobodys_hash() -> str:
    """Made at the first need: it takes a tenth of a second, and no other process than a web process needs it."""
    return generate_password_hash("the hash of a user who does not exist")


def _active_user(inbox: Inbox, name: str) -> User | None:
    if not is_user_name(name):
        return None
    with reading(inbox.engine) as session:
        return session.scalar(sa.select(User).where(User.name == name, User.active))


def _unchanged(session: Session, known: User) -> User | None:
    """The user as of now, unless disabled or given another password while the comparison ran."""
    same = User.id == known.id, User.active, User.password_hash == known.password_hash
    return session.scalar(sa.select(User).where(*same))


def _is_limited(inbox: Inbox, sources: _Sources) -> bool:
    """Whether the tries of a source are used up. It only looks, so it costs no write."""
    counts = zip(sources, _LIMITS, strict=True)
    used_up = [(SignInFailures.source == source) & (SignInFailures.failures >= limit.tries) for source, limit in counts]
    with reading(inbox.engine) as session:
        limited = sa.exists().where(SignInFailures.ends_at > inbox.now(), sa.or_(*used_up))
        return bool(session.scalar(sa.select(limited)))


def _decide(inbox: Inbox, sources: _Sources, known: User | None, *, right: bool, request_id: str) -> User | None:
    """Let the user in, or count the refusal."""
    with inbox.tally.finished_sums(inbox.clock.now()) as sums, writing(inbox.engine) as session:
        write_sums(session, inbox, sums)
        everyone = _everyones_failures(session, inbox)
        counts = [
            _failures(session, inbox, source, limit.window) for source, limit in zip(sources, _LIMITS, strict=True)
        ]
        limited = [count.failures >= limit.tries for count, limit in zip(counts, _LIMITS, strict=True)]
        if known is not None and right and not any(limited) and (user := _unchanged(session, known)) is not None:
            record(session, inbox, "sign_in", "signed in", actor=user.name, request_id=request_id)
            return user
        at_address, of_name, of_address = counts
        of_name.failures += not (limited[0] or limited[2])
        at_address.failures += 1
        of_address.failures += 1
        everyone.failures += 1
        if everyone.failures <= AUDITED_REFUSALS:
            detail = f"user {known.id}" if known else None
            result = "limited" if any(limited) else "failed"
            record(session, inbox, "sign_in", result, request_id=request_id, detail=detail)
    return None


def _everyones_failures(session: Session, inbox: Inbox) -> SignInFailures:
    """The lock, held until the transaction ends. Windows that are over are summed up and forgotten."""
    everyone = _failures(session, inbox, _EVERYONE, WINDOW)
    now = session.execute(sa.select(inbox.now())).scalar_one()
    if everyone.ends_at <= now:
        if (unwritten := everyone.failures - AUDITED_REFUSALS) > 0:
            record(session, inbox, "sign_in", "failed", occurrences=unwritten, detail="summed")
        everyone.failures, everyone.ends_at = 0, now + WINDOW
    session.flush()
    session.execute(sa.delete(SignInFailures).where(SignInFailures.ends_at <= now))
    return everyone


def _failures(session: Session, inbox: Inbox, source: str, window: timedelta) -> SignInFailures:
    """The count of a source, made if need be, and locked."""
    row = {"source": source, "failures": 0, "ends_at": inbox.now(plus=window.total_seconds())}
    same = {"failures": SignInFailures.failures}
    insert = (
        insert_into(SignInFailures, inbox.engine.dialect.name)
        .values(row)
        .on_conflict_do_update(index_elements=["source"], set_=same)
    )
    counted: SignInFailures = session.scalars(insert.returning(SignInFailures)).one()
    return counted


def _sources(inbox: Inbox, address: str, name: str) -> _Sources:
    network = address
    with suppress(ValueError):
        parsed = ip_address(address)
        if isinstance(parsed, IPv6Address):
            network = str(parsed.ipv4_mapped or ip_network(f"{parsed}/64", strict=False))
    return _Sources(
        sign_in_digest(inbox, "name at address", f"{network} {name}"),
        sign_in_digest(inbox, "name", name),
        sign_in_digest(inbox, "address", network),
    )


def sign_in_digest(inbox: Inbox, kind: str, text: str) -> str:
    """What the database keeps of a text that somebody sent to get in."""
    return body_digest(f"sign-in {kind}: {text}".encode(), inbox.settings.payload_keys)


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
