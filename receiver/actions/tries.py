"""How many tries a stranger has who wants to get in, and what the audit log says of them.

A name has SIGN_IN_ATTEMPTS refused tries from one address, and SIGN_IN_ATTEMPTS_ANYWHERE from all addresses, whether or
not the name exists. With the last of them it is closed, for SIGN_IN_LOCKOUT_MINUTES. Tries that one address has used up
don't count for the name. So nobody can lock an operator out from one address; with the defaults it takes five. An
address has 30 tries in two minutes, for all names together. Many people may share an address behind a proxy, and a
stranger among them must not keep them out for long. An IPv6 address counts as its /64 network, which is what one
customer gets. `users passwd` and `users enable` forget a name's counts. The database stores keyed digests only, and
nothing that a stranger typed.

A password is compared slowly by design. So the limits are checked first, and a try beyond them costs no comparison.
Every decision is made after the comparison, under one lock: the row of everyone's refusals. So tries at the same time,
in any process, are counted one by one. That row also keeps floods out of the audit log: beyond 30 refusals in a window,
the rest become one row with a count. The same goes for tries beyond 10 a minute that a limit refuses.

To limit tries of another kind, write a function that returns its sources, as `sources_of_name()` does.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.engine import reading, writing
from receiver.database.insert import insert_into
from receiver.privacy.sealing import body_digest
from receiver.store.audit import record, write_sums
from receiver.store.inbox import Inbox
from receiver.store.models import SignInFailures
from receiver.store.tally import Key

T = TypeVar("T")

TRIES_OF_ADDRESS = 30
WINDOW_OF_ADDRESS = timedelta(minutes=2)
AUDITED_REFUSALS = 30
AUDIT_WINDOW = timedelta(minutes=15)
_EVERYONE = "everyone"


class Source(NamedTuple):
    """Whose tries are counted together, by a keyed digest, and how many they may be within which time."""

    digest: str
    tries: int
    window: timedelta
    closes: str = ""  # what the audit log says when the tries of a user are used up
    is_spared: bool = False  # a try is not counted here when another source has used up its own


class Who(NamedTuple):
    """What the audit log says of a try: the request, and the user if there is one."""

    request_id: str
    user_id: int | None = None
    what: str = ""  # was tried, if not a password

    @property
    def detail(self) -> str | None:
        """The user, by number: a name that was typed may be a password."""
        return None if self.user_id is None else ", ".join(filter(None, (f"user {self.user_id}", self.what)))


def sources_of_name(inbox: Inbox, address: str, name: str) -> tuple[Source, ...]:
    """Those of a try with a name."""
    settings = inbox.settings
    lockout = settings.sign_in_lockout
    everywhere = digest(inbox, "name", name)
    here = f"{everywhere}@{digest(inbox, 'address of a name', _network(address))[-24:]}"
    return (
        Source(here, settings.sign_in_attempts, lockout, closes="closed at one address"),
        Source(everywhere, settings.sign_in_attempts_anywhere, lockout, closes="closed", is_spared=True),
        source_of_address(inbox, address),
    )


def source_of_codes(inbox: Inbox, user_id: int) -> Source:
    """That of all codes of a second factor that are tried for a user."""
    settings = inbox.settings
    return Source(
        _codes_of(inbox, user_id), settings.sign_in_attempts, settings.sign_in_lockout, closes="closed", is_spared=True
    )


def source_of_address(inbox: Inbox, address: str) -> Source:
    """That of all tries from an address."""
    return Source(digest(inbox, "address", _network(address)), TRIES_OF_ADDRESS, WINDOW_OF_ADDRESS)


def forget(session: Session, inbox: Inbox, name: str, user_id: int) -> None:
    """Forget the tries of others with this name, at every address, and with codes for this user."""
    of_name = SignInFailures.source.startswith(digest(inbox, "name", name), autoescape=True)
    of_codes = SignInFailures.source == _codes_of(inbox, user_id)
    session.execute(sa.delete(SignInFailures).where(of_name | of_codes))


def are_used_up(inbox: Inbox, sources: Sequence[Source]) -> bool:
    """Whether one of the sources has no tries left. It only looks, so it costs no write."""
    used_up = [
        (SignInFailures.source == source.digest) & (SignInFailures.failures >= source.tries) for source in sources
    ]
    with reading(inbox.engine) as session:
        limited = sa.exists().where(SignInFailures.ends_at > inbox.now(), sa.or_(*used_up))
        return bool(session.scalar(sa.select(limited)))


def refuse(inbox: Inbox, sources: Sequence[Source], who: Who) -> None:
    """Count a try that needed no look, because the tries are used up."""
    if inbox.tally.admits(Key("limited", action="sign_in"), inbox.clock.now()):
        decide(inbox, sources, lambda _: None, who)


def decide(inbox: Inbox, sources: Sequence[Source], admit: Callable[[Session], T | None], who: Who) -> T | None:
    """What `admit` returns if tries are left. It returns None for a refusal, which is counted."""
    with inbox.tally.finished_sums(inbox.clock.now()) as sums, writing(inbox.engine) as session:
        write_sums(session, inbox, sums)
        everyone = _everyones_failures(session, inbox)
        counts = [_failures(session, inbox, source.digest, source.window) for source in sources]
        limited = [count.failures >= source.tries for count, source in zip(counts, sources, strict=True)]
        if not any(limited) and (admitted := admit(session)) is not None:
            return admitted
        for place, (count, source) in enumerate(zip(counts, sources, strict=True)):
            if source.is_spared and any(limited[:place] + limited[place + 1 :]):
                continue
            count.failures += 1
            if count.failures == source.tries:
                count.ends_at = session.execute(sa.select(inbox.now(plus=source.window.total_seconds()))).scalar_one()
                if source.closes and who.user_id is not None and not any(limited):
                    record(session, inbox, "lockout", source.closes, request_id=who.request_id, detail=who.detail)
        everyone.failures += 1
        if everyone.failures <= AUDITED_REFUSALS:
            result = "limited" if any(limited) else "failed"
            record(session, inbox, "sign_in", result, request_id=who.request_id, detail=who.detail)
    return None


def digest(inbox: Inbox, kind: str, text: str) -> str:
    """What the database keeps of a text that somebody sent to get in."""
    return body_digest(f"sign-in {kind}: {text}".encode(), inbox.settings.payload_keys)


def _everyones_failures(session: Session, inbox: Inbox) -> SignInFailures:
    """The lock, held until the transaction ends. Windows that are over are summed up and forgotten."""
    everyone = _failures(session, inbox, _EVERYONE, AUDIT_WINDOW)
    now = session.execute(sa.select(inbox.now())).scalar_one()
    if everyone.ends_at <= now:
        if (unwritten := everyone.failures - AUDITED_REFUSALS) > 0:
            record(session, inbox, "sign_in", "failed", occurrences=unwritten, detail="summed")
        everyone.failures, everyone.ends_at = 0, now + AUDIT_WINDOW
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


def _codes_of(inbox: Inbox, user_id: int) -> str:
    return digest(inbox, "codes of user", str(user_id))


def _network(address: str) -> str:
    """What one customer has of addresses."""
    with suppress(ValueError):
        parsed = ip_address(address)
        if isinstance(parsed, IPv6Address):
            return str(parsed.ipv4_mapped or ip_network(f"{parsed}/64", strict=False))
    return address
