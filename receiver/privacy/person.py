"""How one person's events are found, although nothing in the database says who they are: a keyed blind index. Pure.

SUBJECT_FIELDS says at which paths of a payload a person is named, and of which kind each value is. A value is brought
into one form, so that "900101-14-5678" and "900101145678" are the same, and is kept as a keyed digest. Who has the
value and the key can find its events. Who has the database alone can't even guess: there are few identity numbers, but
the key is not among them.

The name of a person, such as `[nric kfhtzqvmwp]`, stands in the audit log and in the log in place of the value. To add
a kind: a function in `KINDS`.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from receiver.privacy.columns import short_form
from receiver.privacy.plain import plain
from receiver.privacy.sealing import SealingKey

LONGEST_VALUE = 400
"""A longer text names nobody."""
DIGEST_BYTES = 16
_IN_BRACKETS = re.compile(r"<([^<>]+)>")
_NRIC_DIGITS = 12
_FEWEST_PHONE_DIGITS = 6
_MALAYSIA = "60"
_SEPARATORS = re.compile(r"[\W_]+")
_NO_DIGITS = re.compile(r"[^0-9]+")


def _joined(text: str) -> str:
    """Letters and digits alone, in small letters."""
    return _SEPARATORS.sub("", plain(text).casefold())


def _nric(text: str) -> str:
    """Digits. A sender that writes a number instead of a text loses the zeros of those who were born after 1999."""
    signs = _joined(text)
    return signs.zfill(_NRIC_DIGITS) if signs.isdecimal() else signs


def _email(text: str) -> str:
    written = plain(text).strip().casefold().removeprefix("mailto:")
    bracketed = _IN_BRACKETS.search(written)
    address = (bracketed[1] if bracketed else written).strip()
    return address if "@" in address else ""


def _phone(text: str) -> str:
    """The country's code and the number. A number without a code is Malaysian."""
    written = plain(text).strip()
    digits = _NO_DIGITS.sub("", written)
    if len(digits) < _FEWEST_PHONE_DIGITS:
        return ""
    if digits.startswith("00"):
        digits = digits[2:]
    elif not written.startswith("+") and (digits.startswith("0") or _is_mobile_without_zero(digits)):
        digits = _MALAYSIA + digits.removeprefix("0")
    return _MALAYSIA + digits[3:] if digits.startswith(f"{_MALAYSIA}0") else digits


def _is_mobile_without_zero(digits: str) -> bool:
    """Whether it is a Malaysian mobile number that was sent as a number, so without its zero."""
    return digits.startswith("1") and len(digits) in (9, 10)


KINDS: Mapping[str, Callable[[str], str]] = {"nric": _nric, "email": _email, "phone": _phone, "number": _joined}
"""Each kind of value, and the one form of it. `number` is any other: a customer number, a passport."""


class Field(NamedTuple):
    """Where a payload names a person: a kind of `KINDS`, and a dotted path. A path goes through each item of a list."""

    kind: str
    path: str


class Entry(NamedTuple):
    """What the index keeps of one value."""

    digest: bytes
    kind: str
    key_id: str

    def __repr__(self) -> str:
        """Without the digest, by which a person can be told again."""
        return f"Entry({self.kind})"


@dataclass(frozen=True)
class Person:
    """Somebody who was asked for. `name` is what may be said; the value itself is not shown."""

    name: str
    digests: frozenset[bytes] = field(repr=False)  # of the value as each kind, under each key
    value: str = field(repr=False)


@dataclass(frozen=True)
class PersonIndex:
    """The fields and the keys, newest first, of one installation."""

    fields: tuple[Field, ...]
    keys: tuple[SealingKey, ...] = field(repr=False)

    def entries(self, payload: Mapping[str, Any]) -> set[Entry]:
        """What the index keeps of a payload, under the newest key."""
        newest, key_id, found = self._macs[0], self.keys[0].id, set()
        for kind, path in self._paths:
            for value in _values(payload, path):
                if form := _form(kind, value):
                    found.add(Entry(_digest(newest, kind, form), kind, key_id))
        return found

    def person(self, value: str) -> Person:
        """Who has this value, whatever its kind is."""
        forms = {kind: form for kind, _ in self.fields if (form := _form(kind, value))}
        digests = frozenset(_digest(mac, kind, form) for mac in self._macs for kind, form in forms.items())
        kind = _likely_kind(value)
        return Person(short_form(kind, _digest(self._macs[0], kind, _form(kind, value))), digests, value)

    @cached_property
    def fingerprint(self) -> str:
        """Another one when the fields are others."""
        fields = "\n".join(f"{kind}={path}" for kind, path in sorted(self.fields))
        return hashlib.sha256(fields.encode()).hexdigest()[:12]

    @cached_property
    def key_ids(self) -> tuple[str, ...]:
        """The IDs of the keys, the newest first."""
        return tuple(key.id for key in self.keys)

    @cached_property
    def _paths(self) -> list[tuple[str, list[str]]]:
        return [(kind, path.split(".")) for kind, path in self.fields]

    @cached_property
    def _macs(self) -> list[HMAC]:
        """What every digest begins with: a key of this use alone."""
        return [HMAC(hmac.digest(key.secret, b"senang person index", "sha256"), SHA256()) for key in self.keys]


def _values(value: Any, path: Sequence[str]) -> Sequence[object]:
    """What stands at the path."""
    for place, name in enumerate(path):
        if isinstance(value, list):
            return [found for item in value for found in _values(item, path[place:])]
        if not isinstance(value, Mapping) or name not in value:
            return ()
        value = value[name]
    return [found for item in value for found in _values(item, ())] if isinstance(value, list) else (value,)


def _form(kind: str, value: object) -> str:
    """The one form of a value. Empty where it names nobody."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    if isinstance(value, int) and abs(value) >= 10**LONGEST_VALUE:
        return ""
    text = str(value)
    return KINDS[kind](text) if len(text) <= LONGEST_VALUE else ""


def _digest(mac: HMAC, kind: str, form: str) -> bytes:
    digest = mac.copy()  # `hmac.digest()` would make it each time, which is most of its work
    digest.update(f"{kind}\0{form}".encode(errors="surrogatepass"))
    return digest.finalize()[:DIGEST_BYTES]


def _likely_kind(value: str) -> str:
    """What a person who typed the value meant, for its name alone."""
    if _email(value):
        return "email"
    signs = _joined(value)
    if signs.isdecimal() and len(signs) == _NRIC_DIGITS:
        return "nric"
    return "phone" if value.strip().startswith(("+", "0")) and _phone(value) else "number"
