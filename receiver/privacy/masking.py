"""What people and logs may see of a payload (§9.3): known keys whose values look harmless, and nothing else.

A value is shown when all of this is true: its key is in `SAFE_KEYS`; grammar.py takes the value for a code, a number, a
moment or a reference; no key above it names a party, such as `customer` or `card`. A key is shown when it looks like an
identifier. Everything else becomes its kind and length, such as `[text 12]`, or the kind that a detector found, such as
`[nric]`.

To show one more field, add its key to `SAFE_KEYS`. A partner does so in a module `masking` of their own: `show_more()`.
To hide what is below another party, add its word to `PARTIES`. Then run `flask --app wsgi events remask`.

A value that is too large becomes `[unmaskable]` as a whole: a payload of more than `MOST_VALUES` fields and items, or a
text of more than `MOST_TEXT` characters. The event is processed like any other.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from receiver.privacy.detectors import DETECTORS, KINDS, suspects
from receiver.privacy.escaping import escaped
from receiver.privacy.grammar import LONGEST_KEY, LONGEST_REFERENCE, is_harmless, is_identifier_key, know_more
from receiver.privacy.hidden import HiddenValues
from receiver.privacy.plain import plain
from receiver.privacy.remembered import forget, remembered

SAFE_KEYS = set(
    {
        "id", "eventid", "transactionid", "policyid", "claimid", "refundid", "paymentid", "accountid", "policynumber",
        "claimnumber", "reference", "referencenumber", "originaltransactionid", "event", "eventtype", "type", "status",
        "amount", "currency", "timestamp", "createdat", "updatedat", "occurredat", "issuedat", "paidat",
        "effectivedate", "expirydate", "startdate", "enddate", "product", "productcode", "plan", "paymentmethod",
        "channel", "reasoncode", "failurecode", "code", "version", "environment", "livemode", "sumassured", "premium",
        "stage", "previousstatus", "sandbox",
    }
)  # fmt: skip
PARTIES = frozenset(
    {
        "address", "agent", "applicant", "assignee", "assured", "bank", "beneficiary", "billing", "borrower", "broker",
        "buyer", "card", "child", "claimant", "client", "contact", "creditor", "customer", "debtor", "dependant",
        "dependent", "donor", "driver", "employee", "guarantor", "guardian", "heir", "holder", "identity", "insured",
        "insurant", "kin", "kyc", "member", "name", "nominee", "owner", "parent", "party", "parties", "passenger",
        "patient", "payee", "payer", "payor", "pelanggan", "pemegang", "penama", "people", "person", "profile",
        "proposer", "recipient", "relative", "representative", "sender", "shipping", "signatory", "spouse", "student",
        "subscriber", "traveler", "traveller", "trustee", "user", "vehicle", "victim", "wallet", "waris", "witness",
    }
)  # fmt: skip
UNMASKABLE = "[unmaskable]"
MOST_DEPTH = 64
MOST_VALUES = 10_000
MOST_TEXT = 64 * 1024
MOST_HIDDEN = 2_000
"""How many hidden values are searched in a text. When there are more, nothing of the text is shown."""
SHORTEST_HIDDEN_TEXT = 3
SHORTEST_HIDDEN_NUMBER = 5
_MOST_ROUNDS = 8
_NESTED = (dict, list)
_MASKED = re.compile(rf"\[(?:(?:text|number) [0-9]{{1,9}}|boolean|unmaskable|{'|'.join(sorted(KINDS))})\]")
_MASKED_KEY = re.compile(rf"({_MASKED.pattern})(?: [0-9]{{1,6}})?")
_SEAM = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LONG_PARTY = re.compile("|".join(word for word in PARTIES if len(word) > 4))
_SHORT_PARTY = re.compile(rf"(?<![a-z])(?:{'|'.join(word for word in PARTIES if len(word) <= 4)})s?(?![a-z])")


class _Key(NamedTuple):
    """What is known of a key, whatever its value is."""

    name: str
    shown: str
    is_safe: bool
    is_party: bool


class _TooMuch(Exception):
    """A payload has more than `MOST_VALUES` values."""


class _Walk:
    """How many more values of one payload may be looked at."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def enter(self, size: int) -> None:
        """Count the values of an object or a list. Raises _TooMuch."""
        self._left -= size
        if self._left < 0:
            raise _TooMuch


def mask_payload(payload: object, *, references: Collection[str] = ()) -> object:
    """A JSON value that is safe to show. `references` are dotted paths of reference numbers, also below a party.

    Never raises: on an error the whole value becomes `[unmaskable]`.
    """
    try:
        if isinstance(payload, dict):
            return _mask_object(payload, frozenset(references), 1, _Walk(), is_below_party=False)
        return _mask(payload, _key(""), frozenset(), 0, _Walk(), is_below_party=False)
    except Exception:
        return UNMASKABLE


_OUR_KEYS = frozenset(SAFE_KEYS)


def show_more(keys: Iterable[str] = (), words: Iterable[str] = (), prefixes: Iterable[str] = ()) -> None:
    """Let people see a partner's own keys, words of codes and prefixes of references, beside ours.

    Case, `-` and `_` don't matter in a key. What an earlier call added is taken away: one process of tests has the
    receivers of several packages.
    """
    SAFE_KEYS.intersection_update(_OUR_KEYS)
    SAFE_KEYS.update(map(_run_together, keys))
    know_more(words, prefixes)
    forget()


def mask_text(text: str, *, hidden: Collection[str] = ()) -> str:
    """Free text in which everything personal or secret is replaced, and the `hidden` values too. Never raises.

    Characters that can't be stored or shown are escaped.
    """
    try:
        if len(text) > MOST_TEXT or len(hidden) > MOST_HIDDEN:
            return UNMASKABLE
        return _detect(_without(escaped(text), hidden))
    except Exception:
        return UNMASKABLE


def hidden_values(payload: object) -> set[str]:
    """The texts, long numbers and keys of a payload that `mask_payload()` hides: an error message may not quote them.

    Short ones are left out. They say nothing about a person, and a message without them would be unreadable. The set
    has at most one value more than `mask_text()` takes.
    """
    return set(islice(_hidden(payload, _key(""), is_below_party=False), MOST_HIDDEN + 1))


def masking_self_test() -> list[str]:
    """The kinds whose samples the detectors miss. Empty when all is well."""
    return [
        detector.kinds[0]
        for detector in DETECTORS
        for sample in detector.samples
        if sample in mask_text(f"before {sample} after")
    ]


def _mask(
    value: object, key: _Key, references: frozenset[str], depth: int, walk: _Walk, *, is_below_party: bool
) -> object:
    """The masked value of a key. `references` are paths from the object that holds the key."""
    if isinstance(value, dict):
        if depth > MOST_DEPTH:
            return UNMASKABLE
        below = is_below_party or key.is_party
        return _mask_object(value, _below(key.name, references), depth + 1, walk, is_below_party=below)
    if isinstance(value, list):
        if depth > MOST_DEPTH:
            return UNMASKABLE
        walk.enter(len(value))
        return [_mask(item, key, references, depth + 1, walk, is_below_party=is_below_party) for item in value]
    return _mask_leaf(value, may_pass=key.name in references or (key.is_safe and not is_below_party))


def _mask_object(
    value: dict[str, object], references: frozenset[str], depth: int, walk: _Walk, *, is_below_party: bool
) -> dict[str, object]:
    walk.enter(len(value))
    masked: dict[str, object] = {}
    numbers: dict[str, int] = {}
    for name, item in value.items():
        key = _key(name)
        shown = key.shown if key.shown not in masked else _unused(key.shown, masked, numbers)
        if isinstance(item, _NESTED):
            masked[shown] = _mask(item, key, references, depth, walk, is_below_party=is_below_party)
        else:
            masked[shown] = _mask_leaf(item, may_pass=name in references or (key.is_safe and not is_below_party))
    return masked


@remembered
def _key(name: str) -> _Key:
    if not is_identifier_key(name):
        is_party = len(name) <= LONGEST_KEY and bool(_LONG_PARTY.search(name.lower()))
        return _Key(name, name if _MASKED_KEY.fullmatch(name) else _kind_found(name), False, is_party)
    words, together = _SEAM.sub("_", name).lower(), _run_together(name)
    is_safe = together in SAFE_KEYS
    is_party = not is_safe and bool(_LONG_PARTY.search(together) or _SHORT_PARTY.search(words))
    return _Key(name, name, is_safe, is_party)


def _run_together(key: str) -> str:
    """The key as `SAFE_KEYS` has it: `policy_id`, `policyId` and `POLICY-ID` are one."""
    return key.lower().replace("_", "").replace("-", "")


def _below(key: str, references: frozenset[str]) -> frozenset[str]:
    if not references:
        return references
    prefix = f"{key}."
    return frozenset([path.removeprefix(prefix) for path in references if path.startswith(prefix)])


def _mask_leaf(value: object, *, may_pass: bool) -> object:
    if value is None:
        return None
    if not may_pass:
        return _kind(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if len(value) <= LONGEST_REFERENCE and is_harmless(value) else _kind_found(value)
    return value if is_harmless(str(value)) else _kind(value)


def _hidden(value: object, key: _Key, *, is_below_party: bool) -> Iterator[str]:
    if isinstance(value, dict):
        below = is_below_party or key.is_party
        for name, item in value.items():
            inner = _key(str(name))
            if inner.shown != name and len(name) >= SHORTEST_HIDDEN_TEXT:
                yield name
            yield from _hidden(item, inner, is_below_party=below)
    elif isinstance(value, list):
        for item in value:
            yield from _hidden(item, key, is_below_party=is_below_party)
    elif not isinstance(value, bool | None):
        text = str(value)
        shortest = SHORTEST_HIDDEN_TEXT if isinstance(value, str) else SHORTEST_HIDDEN_NUMBER
        may_pass = key.is_safe and not is_below_party
        if len(text) >= shortest and _mask_leaf(value, may_pass=may_pass) != value:
            yield text


def _kind(value: object) -> str:
    if isinstance(value, str):
        return value if value[:1] == "[" and _MASKED.fullmatch(value) else f"[text {len(value)}]"
    if isinstance(value, bool):
        return "[boolean]"
    return f"[number {len(str(value))}]"


def _kind_found(text: str) -> str:
    """The kind that a detector found, if the text is nothing else. Otherwise the length of the text."""
    found = _detect(escaped(text)) if len(text) <= LONGEST_REFERENCE else ""
    return found if found[:1] == "[" and _MASKED.fullmatch(found) else _kind(text)


def _without(text: str, hidden: Collection[str]) -> str:
    """The text, or its plain form, without the hidden values."""
    if not hidden:
        return text
    values, read = HiddenValues([plain(escaped(value)) for value in hidden]), plain(text)
    found = values.mask(read, _kind)
    return found if found != read else text


def _detect(text: str) -> str:
    """The text without what the detectors find in it and in its plain form. Repeated until they find no more."""
    for _ in range(_MOST_ROUNDS):
        before, read = text, plain(text)
        if read != text:
            found = _cleared(read)
            text = found if found != read else text
        text = _cleared(text)
        if text == before:
            return text
    return UNMASKABLE


def _cleared(text: str) -> str:
    for detector in suspects(text):
        text = detector.mask(text)
    return text


def _unused(key: str, taken: dict[str, object], numbers: dict[str, int]) -> str:
    """A name for a masked key that no other key has, so that no entry is lost. `numbers` are the last ones, by kind."""
    masked = _MASKED_KEY.fullmatch(key)
    kind = masked[1] if masked else key
    number = numbers.get(kind, 1) + 1
    while f"{kind} {number}" in taken:
        number += 1
    numbers[kind] = number
    return f"{kind} {number}"
