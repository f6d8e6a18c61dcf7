"""What the text of one setting may be, where no other room knows: a function for each kind of value."""

import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution

from sqlalchemy.engine import make_url

from receiver.database.url import UnusableUrl, normalise_url
from receiver.privacy.person import KINDS, Field
from receiver.privacy.sealing import SealingKey, UnusableKey, parse_keys
from receiver.protocol.errors import UnusableSecret
from receiver.protocol.placeholders import is_unfilled

LEAST_SESSION_SECRET_LENGTH = 32
LONGEST_USER_NAME = 100
OWN_PATHS = frozenset(
    {
        "webhooks", "healthz", "readyz", "metrics", "sign-in", "sign-out", "events", "bulk", "pauses", "failures",
        "subjects", "audit", "support", "captures", "static", "own", "first-operator", "alerts", "account", "workers",
        "person", "api", "tokens", "times",
    }
)  # fmt: skip
"""What the paths of our routes begin with."""
LISTS = ("x-forwarded-for", "forwarded", "via")


class UnusableValue(Exception):
    """A path, header, token, address or user that can't be used. The message says why, and never quotes it."""


def is_user_name(text: str) -> bool:
    """Whether a user can have this name: people have to see it, and to type it."""
    return 0 < len(text) <= LONGEST_USER_NAME and text.isprintable() and text == text.strip()


def user_name(text: str) -> str:
    """A name that a user can have, or nothing. Raises UnusableValue."""
    if text and not is_user_name(text):
        raise UnusableValue(f"a name has 1 to {LONGEST_USER_NAME} visible characters.")
    return text


def password_hash(text: str) -> str:
    """A hash as `users hash` prints it, or nothing. Raises UnusableValue, also for a password in clear text."""
    if text and not re.fullmatch(r"scrypt:[0-9]{1,8}:[0-9]{1,3}:[0-9]{1,3}\$[A-Za-z0-9]+\$[0-9a-f]{128}", text):
        raise UnusableValue("`flask --app wsgi users hash` prints what belongs here; a password itself does not.")
    return text


def path_prefix(text: str) -> str:
    """Without a slash at its end, as WSGI wants it. A prefix that begins like a page could not be told from it."""
    prefix = text.rstrip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", prefix):
        raise UnusableValue("it begins with / and has letters, digits, -, _, . and ~ between slashes, such as /pay.")
    if prefix.split("/")[1:2] and prefix.split("/")[1] in OWN_PATHS:
        raise UnusableValue("the receiver has a page or route of that name itself.")
    return prefix


def header_name(text: str) -> str:
    """The name of a header with one address in it, or nothing. Raises UnusableValue."""
    name = text.strip()
    if name and not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise UnusableValue("a name of a header has letters, digits and - only.")
    if name.lower() in LISTS:
        raise UnusableValue("this header has a list, which clients begin. FORWARDED_FOR_HOPS says where the client is.")
    return name


def session_secret(text: str) -> str:
    """A text that can sign sessions. Raises UnusableSecret."""
    if is_unfilled(text):
        raise UnusableSecret("placeholder")
    if len(text) < LEAST_SESSION_SECRET_LENGTH or len(set(text)) < 8:
        raise UnusableSecret("too_short")
    return text


def bearer_token(text: str) -> str:
    """A token that a client can send, or nothing. Raises UnusableValue."""
    if text and not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):
        raise UnusableValue("a bearer token has letters, digits and -._~+/ only, and = at its end (RFC 6750).")
    if is_unfilled(text):
        raise UnusableValue("placeholder")
    return text


def alert_urls(text: str) -> tuple[str, ...]:
    """Addresses as apprise writes them, between spaces or commas. Raises UnusableValue."""
    urls = tuple(url for url in re.split(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)", text.strip().rstrip(",")) if url)
    for number, url in enumerate(urls, 1):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", url):
            raise UnusableValue(f"address {number} is not written as apprise writes it, such as mailto://….")
    return urls


def web_address(text: str) -> str:
    """An http or https address, or nothing. Raises UnusableValue."""
    if text and not re.fullmatch(r"https?://[^\s/]+\S*", text.strip()):
        raise UnusableValue("an address begins with https:// or http://.")
    return text.strip()


def optional_address(*packages: str) -> Callable[[str], str]:
    """An http or https address for which these packages are needed, or nothing. Raises UnusableValue."""

    def read(text: str) -> str:
        address = web_address(text)
        missing = [package for package in packages if address and not _is_installed(package)]
        if missing:
            raise UnusableValue(
                f"needs {' and '.join(missing)}. Add it to the group `app` in pyproject.toml, then `make lock`."
            )
        return address

    return read


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def sealing_keys(text: str) -> tuple[SealingKey, ...]:
    """Keys between commas, the newest first. Raises UnusableKey."""
    if any(map(is_unfilled, text.split(","))):
        raise UnusableKey("placeholder")
    return parse_keys(text)


def index_keys(text: str) -> tuple[SealingKey, ...]:
    """The same, or nothing. Raises UnusableKey."""
    return sealing_keys(text) if text else ()


def person_fields(text: str) -> tuple[Field, ...]:
    """What names a person, such as `nric=data.customer.nric,email=data.customer.email`. Raises UnusableValue."""
    found = []
    for pair in filter(None, (part.strip() for part in text.split(","))):
        kind, _, path = (part.strip() for part in pair.partition("="))
        if kind not in KINDS:
            raise UnusableValue(f"write kind=path,kind=path. A kind is one of {', '.join(KINDS)}.")
        if not path or not all(path.split(".")) or not path.isprintable() or set(path) & set("= ;"):
            raise UnusableValue("a path is dotted, such as data.customer.nric.")
        found.append(Field(kind, path))
    return tuple(dict.fromkeys(found))


def postgresql_url(text: str) -> str:
    """The address of a PostgreSQL server, or nothing. Raises UnusableUrl."""
    url = normalise_url(text) if text else ""
    if url and make_url(url).get_backend_name() != "postgresql":
        raise UnusableUrl("only PostgreSQL has poolers.")
    return url
