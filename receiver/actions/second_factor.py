"""The second factor of a user who signs in by a password: codes of an app (TOTP, RFC 6238), and recovery codes.

    none ── begin ──▶ begun ── confirm ──▶ on ── remove, reset ──▶ none
                     (begin again: another secret)

The secret is sealed with PAYLOAD_KEYS, and shown only until it is confirmed. A code works once: what counts is its time
step, and only a later step than the last one is taken. A recovery code is removed with its use. It has 80 random bits,
so a plain hash of it can't be guessed, and needs no key that could be lost.

Tries with a code are counted for the user, from all addresses together: who gets here knows the password, so nobody
else can close it. To ask for a code before another act, call `_with_code()`.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from receiver.actions import tries
from receiver.actions.users import AccountError, change, let_in, with_password
from receiver.database.engine import reading, writing
from receiver.green import Lane
from receiver.privacy.sealing import CannotUnseal, seal, unseal
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.models import RecoveryCode, User

T = TypeVar("T")

RECOVERY_CODES = 10
STEP_SECONDS = 30
_RECOVERY_BYTES = 10
_OFF = {"sealed_second_factor": None, "second_factor_at": None, "second_factor_step": None}

log = structlog.get_logger()


class Setup(NamedTuple):
    """What an app needs to know: the secret to type, and the address to scan."""

    secret: str
    address: str


class Origin(NamedTuple):
    """Where a request comes from."""

    address: str
    request_id: str


def begin(inbox: Inbox, user: User, password: str, *, comparisons: Lane, origin: Origin) -> bool:
    """Make a secret that is to be confirmed. False for a wrong password or too many tries.

    Raises AccountError when the second factor is on, and Crowded.
    """
    import pyotp  # only who needs it loads it

    def act(session: Session, found: User) -> bool:
        if found.second_factor_at is not None:
            raise AccountError("The second factor is on. Remove it first.")
        sealed = seal(pyotp.random_base32().encode(), row=found.second_factor_row, keys=inbox.settings.payload_keys)
        session.execute(sa.update(User).where(User.id == found.id).values(_OFF | {"sealed_second_factor": sealed}))
        return True

    return bool(with_password(inbox, user.name, password, act, comparisons=comparisons, **origin._asdict()))


def setup_of(inbox: Inbox, user_id: int) -> Setup | None:
    """What the app has to scan, while the second factor is begun and not confirmed."""
    import pyotp

    with reading(inbox.engine) as session:
        user = session.get_one(User, user_id)
        secret = None if user.second_factor_at else _secret(inbox, user)
        name = user.name
    if secret is None:
        return None
    settings = inbox.settings
    issuer = f"{settings.name or 'Senang.io receiver'} ({settings.environment})"
    return Setup(secret, pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=issuer))


def confirm(inbox: Inbox, user_id: int, code: str, *, request_id: str) -> list[str]:
    """Turn the second factor on; the recovery codes, which nobody can see again. Raises AccountError."""
    with writing(inbox.engine) as session:
        user = _locked(session, user_id)
        if user is None or user.second_factor_at is not None or _secret(inbox, user) is None:
            raise AccountError("There is nothing to confirm. Begin again.")
        if not _use_app_code(session, inbox, user, code):
            raise AccountError("The code is wrong. Is the clock of your telephone right? Try the next code.")
        session.execute(sa.update(User).where(User.id == user_id).values(second_factor_at=inbox.now()))
        record(session, inbox, "second_factor", "set up", actor=user.name, request_id=request_id)
        return _new_recovery_codes(session, user_id)


def finish_sign_in(inbox: Inbox, user_id: int, code: str, *, generation: int, origin: Origin) -> User | None:
    """The user whose password was right before, if this code is right too."""

    def act(session: Session, user: User, kind: str) -> User | None:
        if user.generation != generation:
            return None
        return let_in(session, inbox, user, way=f"by password and {kind}", request_id=origin.request_id)

    return _with_code(inbox, user_id, code, act, origin)


def remove(inbox: Inbox, user_id: int, code: str, *, origin: Origin) -> bool:
    """Turn the second factor off. False for a wrong code or too many tries."""

    def act(session: Session, user: User, kind: str) -> bool:
        session.execute(sa.update(User).where(User.id == user_id).values(_OFF))
        session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
        record(session, inbox, "second_factor", "removed", actor=user.name, request_id=origin.request_id)
        return True

    return bool(_with_code(inbox, user_id, code, act, origin))


def renew_recovery_codes(inbox: Inbox, user_id: int, code: str, *, origin: Origin) -> list[str] | None:
    """New recovery codes; the old ones work no more. None for a wrong code or too many tries."""

    def act(session: Session, user: User, kind: str) -> list[str]:
        record(session, inbox, "second_factor", "new recovery codes", actor=user.name, request_id=origin.request_id)
        return _new_recovery_codes(session, user_id)

    return _with_code(inbox, user_id, code, act, origin)


def reset(inbox: Inbox, name: str, *, actor: str) -> None:
    """Turn the second factor of a user off who has lost it, and end their sessions. Raises AccountError."""

    def forget(session: Session, user_id: int) -> None:
        session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user_id))

    change(inbox, name, "second factor reset", actor=actor, also=forget, **_OFF)


def recovery_codes_left(inbox: Inbox, user_id: int) -> int:
    """How many recovery codes were not used."""
    with reading(inbox.engine) as session:
        mine = sa.select(sa.func.count()).select_from(RecoveryCode).where(RecoveryCode.user_id == user_id)
        return session.scalar(mine) or 0


def _with_code(
    inbox: Inbox, user_id: int, code: str, act: Callable[[Session, User, str], T | None], origin: Origin
) -> T | None:
    """What `act` returns after a right code, in the transaction that uses it up. None after a refusal."""
    sources = tries.source_of_codes(inbox, user_id), tries.source_of_address(inbox, origin.address)
    who = tries.Who(origin.request_id, user_id, "second factor")
    if tries.are_used_up(inbox, sources):
        tries.refuse(inbox, sources, who)
        return None

    def admit(session: Session) -> T | None:
        user = _locked(session, user_id)
        if user is None or user.second_factor_at is None:
            return None
        kind = _use(session, inbox, user, code)
        return act(session, user, kind) if kind else None

    return tries.decide(inbox, sources, admit, who)


def _locked(session: Session, user_id: int) -> User | None:
    return session.scalar(sa.select(User).where(User.id == user_id, User.active).with_for_update())


def _use(session: Session, inbox: Inbox, user: User, code: str) -> str | None:
    """Use the code up; what kind of code it was. None if it is wrong."""
    if _use_app_code(session, inbox, user, code):
        return "code"
    mine = RecoveryCode.user_id == user.id, RecoveryCode.digest == _digest(code)
    used = session.scalar(sa.delete(RecoveryCode).where(*mine).returning(RecoveryCode.user_id))
    return None if used is None else "recovery code"


def _use_app_code(session: Session, inbox: Inbox, user: User, code: str) -> bool:
    import pyotp

    secret, code = _secret(inbox, user), re.sub(r"\s", "", code)
    if secret is None or not re.fullmatch("[0-9]{6}", code):
        return False
    app, now = pyotp.TOTP(secret), int(inbox.clock.now().timestamp()) // STEP_SECONDS
    for step in (now - 1, now, now + 1):  # a clock may be wrong, and a person is slow
        if step > (user.second_factor_step or 0) and hmac.compare_digest(app.generate_otp(step), code):
            session.execute(sa.update(User).where(User.id == user.id).values(second_factor_step=step))
            return True
    return False


def _secret(inbox: Inbox, user: User) -> str | None:
    if user.sealed_second_factor is None:
        return None
    try:
        return unseal(user.sealed_second_factor, row=user.second_factor_row, keys=inbox.settings.payload_keys).decode()
    except CannotUnseal as error:
        log.error("second_factor_unreadable", user=user.id, reason=error.reason)
        return None


def _new_recovery_codes(session: Session, user_id: int) -> list[str]:
    codes = [_grouped(secrets.token_bytes(_RECOVERY_BYTES)) for _ in range(RECOVERY_CODES)]
    session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    session.add_all(RecoveryCode(user_id=user_id, digest=_digest(code)) for code in codes)
    return codes


def _grouped(random: bytes) -> str:
    letters = base64.b32encode(random).decode().lower()
    return "-".join(letters[start : start + 4] for start in range(0, len(letters), 4))


def _digest(code: str) -> str:
    letters = re.sub(r"[^a-z2-7]", "", code.lower())
    return hashlib.sha256(f"recovery code {letters}".encode()).hexdigest()
