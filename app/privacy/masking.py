"""What people and logs may see of a payload (§9.3): an allow-list, then detectors over what passed.

To let one more field be seen, add its key to `SAFE_KEYS`; to exempt a reference number from the detectors that
only look at digits (5 % of random 16-digit numbers look like a card), add it to `REFERENCE_KEYS`. After either,
run `flask --app wsgi events remask`.
"""

import re
import unicodedata
from collections.abc import Collection
from typing import NamedTuple

from app.privacy.detectors import DETECTORS, suspects
from app.privacy.escaping import escaped
from app.remembered import remembered

REFERENCE_KEYS = frozenset(
    {
        "id", "eventid", "transactionid", "policyid", "claimid", "refundid", "paymentid", "accountid", "policynumber",
        "claimnumber", "reference", "referencenumber", "originaltransactionid",
    }
)  # fmt: skip
SAFE_KEYS = REFERENCE_KEYS | {
    "event", "eventtype", "type", "status", "amount", "currency", "timestamp", "createdat", "updatedat", "occurredat",
    "issuedat", "paidat", "effectivedate", "expirydate", "startdate", "enddate", "product", "productcode", "plan",
    "paymentmethod", "channel", "reasoncode", "failurecode", "code", "version", "environment", "livemode", "sumassured",
    "premium", "stage", "previousstatus", "sandbox",
}  # fmt: skip
UNMASKABLE = "[unmaskable]"
MOST_DEPTH = 64
MOST_SAFE_TEXT = 200
SHORTEST_HIDDEN_TEXT = 3
SHORTEST_HIDDEN_NUMBER = 5
_NESTED = (dict, list)
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]")
_MASKED = re.compile(r"\[(?:text|number|boolean)(?: [0-9]+)?\]")


class _Key(NamedTuple):
    """What there is to know of a key, whatever stands under it."""

    name: str
    shown: str
    is_safe: bool
    is_reference: bool


def mask_payload(payload: object, *, references: Collection[str] = ()) -> object:
    """A JSON value that is safe to show; `references` are further dotted paths of reference numbers.

    Never raises: on an error the whole value becomes `[unmaskable]`.
    """
    try:
        if isinstance(payload, dict):
            return _mask_object(payload, frozenset(references), 1)
        return _mask(payload, _key(""), frozenset(), 0)
    except Exception:
        return UNMASKABLE


def mask_text(text: str, *, hidden: Collection[str] = ()) -> str:
    """Free text with everything personal or secret in it replaced, and the `hidden` values too. Never raises.

    What can't be stored or shown is escaped.
    """
    try:
        text = escaped(text)
        for value in sorted(map(escaped, hidden), key=len, reverse=True):
            text = text.replace(value, _kind(value))
        return _detect(text, reference=False)
    except Exception:
        return UNMASKABLE


def hidden_values(payload: object) -> set[str]:
    """The texts and long numbers of a payload that `mask_payload()` hides: an error message may not quote them.

    Shorter ones say nothing about a person, and replacing them would make a message unreadable.
    """
    if isinstance(payload, dict):
        return set().union(*(_hidden_under(str(key), value) for key, value in payload.items()))
    return _hidden_under("", payload)


def masking_self_test() -> list[str]:
    """The detectors that miss their own sample; empty when all is well."""
    return [d.name for d in DETECTORS if d.sample in mask_text(f"before {d.sample} after")]


def _mask(value: object, key: _Key, references: frozenset[str], depth: int) -> object:
    """What stands under a key; `references` are paths from the object that holds the key."""
    if isinstance(value, dict):
        return UNMASKABLE if depth > MOST_DEPTH else _mask_object(value, _below(key.name, references), depth + 1)
    if isinstance(value, list):
        return UNMASKABLE if depth > MOST_DEPTH else [_mask(item, key, references, depth + 1) for item in value]
    return _mask_leaf(value, key, key.name in references)


def _mask_object(value: dict[str, object], references: frozenset[str], depth: int) -> dict[str, object]:
    masked: dict[str, object] = {}
    for name, item in value.items():
        key = _key(name)
        shown = key.shown if key.shown not in masked else _unused(key.shown, masked)
        if isinstance(item, _NESTED):
            masked[shown] = _mask(item, key, references, depth)
        else:
            masked[shown] = _mask_leaf(item, key, name in references)
    return masked


@remembered
def _key(name: str) -> _Key:
    shown = name if name.isascii() and name.isprintable() and not suspects(name) else mask_text(name)
    canonical = name.lower().replace("_", "").replace("-", "")
    return _Key(name, shown, canonical in SAFE_KEYS, canonical in REFERENCE_KEYS)


def _below(key: str, references: frozenset[str]) -> frozenset[str]:
    if not references:
        return references
    prefix = f"{key}."
    return frozenset([path.removeprefix(prefix) for path in references if path.startswith(prefix)])


def _mask_leaf(value: object, key: _Key, is_reference: bool) -> object:
    if value is None:
        return None
    if not (is_reference or key.is_safe):
        return _kind(value)
    if isinstance(value, bool):
        return value
    text = value if isinstance(value, str) else str(value)
    if len(text) > MOST_SAFE_TEXT:
        return _kind(value)
    detected = _detect(text, reference=True) if is_reference or key.is_reference else _detect_in_safe_text(text)
    return value if detected == text else detected


def _hidden_under(key: str, value: object) -> set[str]:
    if isinstance(value, dict):
        return hidden_values(value)
    if isinstance(value, list):
        return set().union(*(_hidden_under(key, item) for item in value))
    text = str(value)
    shortest = SHORTEST_HIDDEN_TEXT if isinstance(value, str) else SHORTEST_HIDDEN_NUMBER
    if isinstance(value, bool | None) or len(text) < shortest or _mask_leaf(value, _key(key), False) == value:
        return set()
    return {text}


def _kind(value: object) -> str:
    if isinstance(value, str):
        return value if value[:1] == "[" and _MASKED.fullmatch(value) else f"[text {len(value)}]"
    if isinstance(value, bool):
        return "[boolean]"
    return f"[number {len(str(value))}]"


def _detect(text: str, *, reference: bool) -> str:
    """Look at the text as a person reads it: full-width digits are digits, and what can't be seen isn't there."""
    text = escaped(text)
    plain = text if text.isascii() else _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    found, looking = plain, suspects(plain, reference=reference)
    while looking:
        before = found
        for detector in looking:
            found = detector.mask(found)
        # What one detector replaced may have hidden something from another one.
        looking = suspects(found, reference=reference) if found != before else []
    return text if found == plain else found


@remembered
def _detect_in_safe_text(text: str) -> str:
    """Types, statuses, products and currencies are few."""
    return _detect(text, reference=False)


def _unused(key: str, taken: dict[str, object]) -> str:
    """Two keys that are masked to the same text must not lose an entry."""
    candidate, number = key, 2
    while candidate in taken:
        candidate, number = f"{key} {number}", number + 1
    return candidate
