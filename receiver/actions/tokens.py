"""Tokens of the JSON API: who made them, what they may read, when they end, and when they were used last.

A token reads, and sees what a viewer sees. It is shown once. Only its digest is kept: a token has 256 random bits, so
nobody can guess it from its digest, and no key is needed that could be lost. Revoking deletes the row; the audit log
keeps the history. The account of the person who made it may end, and the token still works.

Uses are audited in a bounded way: a token has one row `used` for each hour in which it is used, and `used_at` changes
once a minute at most. Every request is also in the log, like any other. To add a scope, add it to `SCOPES` in
receiver/queries/told.py.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from receiver.database.engine import reading, writing
from receiver.database.insert import insert_into
from receiver.queries.told import SCOPES
from receiver.settings.values import is_user_name
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.models import ApiToken

LONGEST_NAME = 60
MOST_DAYS = 3650
NOTED_EVERY = timedelta(minutes=1)
_FORM = re.compile(r"senang_[A-Za-z0-9_-]{43}")
"""Programs that look for leaked secrets find a token by how it begins."""


class TokenError(Exception):
    """The act can't be done. The message says why."""


def create(inbox: Inbox, name: str, scopes: Iterable[str], *, days: int | None, actor: str) -> str:
    """Make a token that works for so many days, or until it is revoked. It can't be shown again. Raises TokenError."""
    chosen = [scope for scope in SCOPES if scope in set(scopes)]
    if not is_user_name(name) or len(name) > LONGEST_NAME:
        raise TokenError(f"A name has 1 to {LONGEST_NAME} visible characters.")
    if not chosen:
        raise TokenError("A token needs something that it may read.")
    if days is not None and not 0 < days <= MOST_DAYS:
        raise TokenError(f"A token works for 1 to {MOST_DAYS} days.")
    token = f"senang_{secrets.token_urlsafe(32)}"
    row = {
        "name": name, "digest": _digest(token), "scopes": " ".join(chosen), "created_at": inbox.now(),
        "created_by": actor, "ends_at": None if days is None else inbox.now(plus=days * 86400),
    }  # fmt: skip
    with writing(inbox.engine) as session:
        insert = insert_into(ApiToken, inbox.engine.dialect.name).values(row).on_conflict_do_nothing()
        if session.scalar(insert.returning(ApiToken.id)) is None:
            raise TokenError("There is a token of this name. Revoke it, or choose another name.")
        until = "without an end" if days is None else f"for {days} days"
        record(session, inbox, "tokens", "created", actor=actor, detail=f"{name}: {' '.join(chosen)}, {until}")
    return token


def all_tokens(inbox: Inbox) -> Sequence[ApiToken]:
    """Every token that is not revoked, by name; those that have ended too."""
    with reading(inbox.engine) as session:
        return session.scalars(sa.select(ApiToken).order_by(ApiToken.name)).all()


def revoke(inbox: Inbox, name: str, *, actor: str) -> None:
    """Let the token end now. Raises TokenError."""
    with writing(inbox.engine) as session:
        deleted = sa.delete(ApiToken).where(ApiToken.name == name).returning(ApiToken.id)
        if not is_user_name(name) or session.scalar(deleted) is None:
            raise TokenError("There is no such token.")
        record(session, inbox, "tokens", "revoked", actor=actor, detail=name)


def token_of(inbox: Inbox, token: str) -> ApiToken | None:
    """The row of a token that works now."""
    if not _FORM.fullmatch(token):
        return None
    works = sa.or_(ApiToken.ends_at.is_(None), ApiToken.ends_at > inbox.now())
    with reading(inbox.engine) as session:
        return session.scalar(sa.select(ApiToken).where(ApiToken.digest == _digest(token), works))


def note_use(inbox: Inbox, token: ApiToken, *, request_id: str) -> None:
    """Note that the token is used now. Of requests at the same time, one notes it."""
    now, before = inbox.clock.now(), token.used_at
    if before is not None and now - before < NOTED_EVERY:
        return
    unchanged = ApiToken.used_at.is_(None) if before is None else ApiToken.used_at == before
    with writing(inbox.engine) as session:
        noted = sa.update(ApiToken).where(ApiToken.id == token.id, unchanged).values(used_at=now)
        is_noted = session.scalar(noted.returning(ApiToken.id)) is not None
        if is_noted and (before is None or _hour(before) != _hour(now)):
            record(session, inbox, "tokens", "used", actor=f"token {token.name}", request_id=request_id)


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
