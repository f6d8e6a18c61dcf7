"""Guesses where a payload holds the envelope's fields (§2.2), each with its reason.

Key names and the shape of the value are both evidence. To teach it another spelling, add it to `NAMES`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from receiver.protocol.envelope import DEFAULT_FIELDS, parse_event
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.json_body import parse_object
from receiver.protocol.moments import NoMoment, read_moment

NAMES: Mapping[str, tuple[str, ...]] = {  # likely ones first; without underscores and case
    "event_id": (
        "eventid", "eventuuid", "webhookid", "notificationid", "messageid", "deliveryid", "uuid", "id", "guid",
    ),
    "event_type": ("eventtype", "eventname", "type", "event", "topic", "action", "kind", "name"),
    "timestamp": (
        "timestamp", "eventtimestamp", "occurredat", "eventtime", "createdat", "created", "sentat", "time", "date",
        "datetime",
    ),
    "transaction_id": (
        "transactionid", "transactionreference", "transactionno", "txnid", "txnref", "paymentid", "transaction",
        "reference",
    ),
    "policy_id": ("policyid", "policynumber", "policyno", "policyref", "coverageid", "policy"),
    "claim_id": ("claimid", "claimnumber", "claimno", "claimref", "claim"),
    "status": ("status", "state", "result", "outcome"),
    "data": ("data", "payload", "object", "attributes", "details", "resource", "body"),
}  # fmt: skip
REQUIRED = ("event_id", "event_type", "timestamp")
_OWNERS = {"transaction_id": "transaction", "policy_id": "policy", "claim_id": "claim", "event_id": "event"}
_TYPE = re.compile(r"[a-z][a-z0-9_-]*([./:][a-z0-9_-]+)+")
_EVENT_ID = re.compile(r"(?i)(evt|event|ntf|wh|msg)[-_].+|[0-9a-f]{8}-[0-9a-f-]{27}")


@dataclass(frozen=True)
class Guess:
    """A likely place of a field. `score` is only for comparing guesses."""

    field: str
    path: str
    reason: str
    score: int


def guess_fields(body: bytes) -> dict[str, Guess]:
    """The most likely place of each field that the body seems to have. Empty when the body is not a JSON object."""
    try:
        candidates = list(_values(parse_object(body)))
    except UnusablePayload:
        return {}
    best: dict[str, Guess] = {}
    for field in NAMES:
        guesses = [guess for path, value in candidates if (guess := _judge(field, path, value))]
        if guesses:
            best[field] = max(guesses, key=lambda guess: guess.score)
    return best


def fields_setting(guesses: Mapping[str, Guess]) -> str:
    """The value of SENANG_PAYLOAD_FIELDS for these guesses. Empty when the defaults say the same."""
    pairs = (f"{g.field}={g.path}" for g in guesses.values() if g.path != DEFAULT_FIELDS[g.field])
    return ",".join(pairs)


def still_unusable(body: bytes, guesses: Mapping[str, Guess]) -> dict[str, list[str]]:
    """What `parse_event()` would still refuse under these guesses, by field."""
    mapping = dict(DEFAULT_FIELDS) | {guess.field: guess.path for guess in guesses.values()}
    try:
        parse_event(body, mapping)
    except UnusablePayload as error:
        return error.errors
    return {}


def _values(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that a setting can name by a dotted path: not in a list, and no key with dots or unprintable text."""
    for key, item in value.items():
        if key.isprintable() and key and "." not in key:
            yield (*path, key), item
            if isinstance(item, dict):
                yield from _values(item, (*path, key))


def _judge(field: str, path: tuple[str, ...], value: Any) -> Guess | None:
    key, parents = _plain(path[-1]), [_plain(parent) for parent in path[:-1]]
    names = NAMES[field]
    owner = _OWNERS.get(field)
    reasons, score = [], 0
    if owner and parents and parents[-1] == owner and key in ("id", "number", "no", "reference", "ref"):
        reasons, score = [f"the {key} of `{path[-2]}`"], 9
    elif key in names and not (field == "event_id" and key == "id" and parents and parents[-1] in _OWNERS.values()):
        reasons, score = ["its name"], 10 - names.index(key)
    shape = _shape(field, value)
    if not score or shape is None:
        return None
    if shape:
        reasons, score = [*reasons, shape], score + 6
    return Guess(field, ".".join(path), " and ".join(reasons), score - 2 * len(parents))


def _shape(field: str, value: Any) -> str | None:
    """What the form of the value says: a reason for the field, an empty text, or None when it can't be this field."""
    if field == "data":
        return "it is an object" if isinstance(value, dict) else None
    if field == "timestamp":
        return "it reads as a moment" if _is_moment(value) else None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    if field == "event_type":
        return None if isinstance(value, int) else "it reads like an event type" if _TYPE.fullmatch(value) else ""
    if field == "event_id" and _EVENT_ID.fullmatch(str(value)):
        return "it reads like an ID of its own"
    return ""


def _is_moment(value: Any) -> bool:
    try:
        return 1990 <= read_moment(value, UTC).year < 2150  # a small number is not a moment
    except NoMoment:
        return False


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())
