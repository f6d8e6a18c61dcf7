"""The first operator, without a shell: from two settings, or by a link in the log that works once.

Both work only while there is no operator, disabled ones included. With FIRST_OPERATOR_NAME and
FIRST_OPERATOR_PASSWORD_HASH, the operator is there as soon as somebody opens the sign-in page. Without them, that page
makes the receiver write a link into its log. So only who can read the log can use it.

The log has the path of the link, without a host: the host of a request is what a stranger says it is. The database
keeps a digest of the link. The newest link alone works, for a day, and there is a new one after ten minutes at most.
"""

import hmac
import secrets
from datetime import timedelta
from string import ascii_lowercase

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from receiver.actions import tries
from receiver.actions.users import AccountError, insert_user, let_in
from receiver.database.causes import cause_of
from receiver.database.engine import reading, writing
from receiver.database.insert import insert_into
from receiver.store.inbox import Inbox
from receiver.store.models import FirstSignInLink, User

log = structlog.get_logger()

PATH = "/first-operator/"
"""The token follows it."""
LASTS = timedelta(days=1)
NEXT_AFTER = timedelta(minutes=10)
"""Who opens the page again after so long gets another link: the first one may have been lost in the log."""
FROM_SETTINGS, FROM_LINK = "first operator by settings", "first operator by link"
"""The actors of the audit rows."""
_LETTERS = 28
"""130 random bits. Letters alone: digits could look like a telephone number, and lines of the log are masked."""
_ONLY = 1


class FirstOperator:
    """What a web process knows about the first operator. Once there is one, it asks no more."""

    def __init__(self) -> None:
        self._is_there = False

    def is_awaited(self, inbox: Inbox) -> bool:
        """Whether somebody has to use the link in the log. Adds the operator of the settings, or writes the link.

        False as well when the database can't be asked: then nobody can sign in at all.
        """
        if self._is_there:
            return False
        try:
            self._is_there = _has_operator(inbox) or _added_from_settings(inbox)
            if not self._is_there and (token := _new_token(inbox)):
                log.warning(
                    "first_operator_link",
                    path=f"{inbox.settings.script_name}{PATH}{token}",
                    hours=LASTS // timedelta(hours=1),
                )
        except SQLAlchemyError as error:
            log.warning("first_operator_not_looked_for", error=cause_of(error))
            return False
        return not self._is_there


def works(inbox: Inbox, token: str) -> bool:
    """Whether the link with this token can be used now."""
    with reading(inbox.engine) as session:
        return not _has_operator(inbox) and _is_newest(session, inbox, token)


def add_by_link(inbox: Inbox, token: str, name: str, hashed: str, *, request_id: str) -> User:
    """Add the first operator. The link is used up. Raises AccountError."""
    with writing(inbox.engine) as session:
        if not _is_newest(session, inbox, token) or _any_operator(session):
            raise AccountError("This link has ended.")
        added_by = {"actor": FROM_LINK, "request_id": request_id}
        user = insert_user(session, inbox, name, role="operator", password_hash=hashed, **added_by)
        if user is None:
            raise AccountError("A viewer has this name. Choose another one.")
        session.execute(sa.delete(FirstSignInLink))
        return let_in(session, inbox, user, way=FROM_LINK, request_id=request_id)


def _has_operator(inbox: Inbox) -> bool:
    with reading(inbox.engine) as session:
        return _any_operator(session)


def _any_operator(session: Session) -> bool:
    return bool(session.scalar(sa.select(sa.exists().where(User.role == "operator"))))


def _added_from_settings(inbox: Inbox) -> bool:
    name, hashed = inbox.settings.first_operator_name, inbox.settings.first_operator_hash
    if not name:
        return False
    with writing(inbox.engine) as session:
        added = insert_user(session, inbox, name, role="operator", actor=FROM_SETTINGS, password_hash=hashed)
        return added is not None


def _new_token(inbox: Inbox) -> str | None:
    """A token, unless there is one that is still new. Of several processes, one makes it."""
    token = "".join(secrets.choice(ascii_lowercase) for _ in range(_LETTERS))
    row = {"id": _ONLY, "digest": _digest(inbox, token), "made_at": inbox.now()}
    is_old = FirstSignInLink.made_at <= inbox.now(plus=-NEXT_AFTER.total_seconds())
    made = insert_into(FirstSignInLink, inbox.engine.dialect.name).values(row)
    made = made.on_conflict_do_update(
        index_elements=["id"], set_={"digest": made.excluded.digest, "made_at": made.excluded.made_at}, where=is_old
    )
    with writing(inbox.engine) as session:
        return token if session.scalar(made.returning(FirstSignInLink.id)) else None


def _is_newest(session: Session, inbox: Inbox, token: str) -> bool:
    """The row is locked where the transaction writes: of two people with one link, one is the first."""
    ends = inbox.now(plus=-LASTS.total_seconds())
    digest = session.scalar(sa.select(FirstSignInLink.digest).where(FirstSignInLink.made_at > ends).with_for_update())
    return digest is not None and hmac.compare_digest(digest, _digest(inbox, token))


def _digest(inbox: Inbox, token: str) -> str:
    return tries.digest(inbox, "link", token)
