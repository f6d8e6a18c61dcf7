"""Guesses where a payload holds the envelope's fields (§2.2), each with its reason and how sure it is.

An event ID is never that of an object or a subscription: two events about one object must stay two. Where no ID is the
event's own, one is composed of the object's ID, the type, the status and the moment. All captures are compared: what is
the same in two different deliveries is no event ID. To teach it another spelling, add it to `NAMES`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from receiver.protocol.envelope import DEFAULT_FIELDS, fields_from, parse_event, zone_from
from receiver.protocol.errors import InvalidScheme, UnusablePayload
from receiver.protocol.fields import item_at
from receiver.protocol.moments import NoMoment, read_moment
from receiver.protocol.places import BODY_SHA256
from receiver.protocol.schemes import Coverage, SignatureScheme
from receiver.sandbox.doctor.envelopes import Document

SURE, LIKELY, GUESSED = "sure", "likely", "guessed"
EVENT_IDS = (
    "eventid", "eventuuid", "webhookid", "webhookeventid", "notificationid", "deliveryid", "updateid", "callbackid",
    "eventguid", "webhookdeliveryid",
)  # fmt: skip
NAMES: Mapping[str, tuple[str, ...]] = {  # likely ones first; without underscores and case
    "event_type": (
        "eventtype", "eventname", "messagetype", "recordtype", "notificationtype", "transactiontype", "transtype",
        "type", "event", "topic", "action", "eventcode", "key", "kind", "object",
    ),
    "timestamp": (
        "timestamp", "eventtimestamp", "occurredat", "happenedat", "eventtime", "eventdate", "eventdateutc",
        "generateddatetime", "updatedat", "updatedon", "updatetime", "statusupdatetime", "emittedat", "paidat",
        "transactiondatetime", "transactiontime", "paidon", "createdat", "createdon", "datecreated", "created",
        "sentat", "ts", "time", "date", "datetime",
    ),
    "transaction_id": (
        "transactionid", "transactionreference", "transactionno", "txnid", "txnref", "paymentid", "transaction",
        "reference", "invoicenumber", "refno",
    ),
    "policy_id": ("policyid", "policynumber", "policyno", "policyref", "coverageid", "policy"),
    "claim_id": ("claimid", "claimnumber", "claimno", "claimref", "claim"),
    "status": ("status", "state", "result", "outcome"),
    "data": ("data", "payload", "object", "attributes", "details", "detail", "resource", "body"),
}  # fmt: skip
STATUSES = ("status", "state", "transactionstatus", "transstatus", "paymentstatus", "policystatus", "respcode")
_OBJECT_IDS = re.compile(
    r"_?(id|gid|uuid|guid|sn|ref|refno|tranref|docno|reference|number|uri)|.*(id|uuid|guid|ref|refno|sn|number|reference)"
)
_NO_OBJECT = re.compile(
    r"(account|user|actor|installation|request|client|merchant|server|tenant|app|api|team|organi[sz]ation|store|business|company|collection|"
    r"config(uration)?|seller|currency|subscription|webhook|test|acquirer|service|original|token|customer|from|to|user)"
    r".*"
)
_VAGUE = ("type", "action", "key", "kind", "object", "topic")
_PARENTS_OF_TYPES = frozenset(
    {"event", "action", "notification", "meta", "subscription", "data", "payload", "eventdata", "update", "header"}
)
_EVENT_PARENTS = frozenset({"event", "action", "notification", "update", "meta", "webhook", "eventdata", "envelope"})
_OWNERS = {"transaction_id": "transaction", "policy_id": "policy", "claim_id": "claim"}
_TYPE = re.compile(r"[a-z][a-z0-9_-]*([./:][a-z0-9_-]+)+")
_OWN_ID = re.compile(r"(?i)(evt|event|evnt|ntf|wh|whk|wbk|we|msg)[-_].+")
_SAME_OBJECT = frozenset({"status", "state", "paid", "refunded"})
_ID_HEADER = re.compile(
    r"(?i).*(webhook|message|event|delivery|notification|invocation|svix)[_-]?(delivery-)?(u?u?id)$|.*-delivery$|(webhook|svix)-id"
)
_TYPE_HEADER = re.compile(r"(?i).*(event|topic|event-type|event-name|event-object|message-type|webhook-type)$")
_MOMENT_NAME = re.compile(r"(?!due|expir|birth|valid|end|start).*(at|on|date|time|datetime|dateutc)")
_TIME_HEADER = re.compile(r"(?i).*(timestamp|time|date)$")
_LEAST_OBJECT_ID = 3
FALLBACK_ZONE = "Asia/Kuala_Lumpur"


@dataclass(frozen=True)
class Guess:
    """A likely place of a field, with the reason, and how sure it is."""

    field: str
    place: str
    reason: str
    score: int
    trust: str = LIKELY


@dataclass(frozen=True)
class Reading:
    """Places for the fields of the envelope, the zone that local times need, and what to be careful about."""

    guesses: dict[str, Guess]
    zone: str
    cautions: list[str]

    def setting(self) -> str:
        """The value of SENANG_PAYLOAD_FIELDS. Empty when the defaults say the same."""
        pairs = (f"{g.field}={g.place}" for g in self.guesses.values() if g.place != DEFAULT_FIELDS[g.field])
        return ",".join(pairs)


def read_fields(deliveries: Sequence[Sequence[Document]], scheme: SignatureScheme | None) -> Reading:
    """The most likely place of each field, compared over all deliveries. The first one is examined."""
    first = deliveries[0][0]
    values = list(_values(first.payload))
    guesses = {field: guess for field in NAMES if (guess := _named(field, values))}
    cautions: list[str] = []
    _timestamp(guesses, first, values, scheme)
    _event_type(guesses, first, values)
    coverage = scheme.coverage if scheme else None
    event_id = _event_id(values, deliveries, scheme) or _composed(guesses, values, deliveries, coverage)
    guesses = {"event_id": event_id, **guesses}
    zone = _zone(guesses, first, cautions)
    return Reading(_without_clashes(guesses), zone, cautions)


def still_unusable(document: Document, reading: Reading, scheme: SignatureScheme | None) -> dict[str, list[str]]:
    """What `parse_event()` would still refuse under these guesses, by field."""
    try:
        mapping = fields_from(reading.setting(), scheme)
        parse_event(document.body, mapping, zone_from(reading.zone), beside=document.beside)
    except UnusablePayload as error:
        return error.errors
    except InvalidScheme as error:
        return {error.field: [error.reason]}
    return {}


def _values(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that a setting can name by a dotted path: not in a list, and no key with dots or unprintable text."""
    for key, item in value.items():
        if re.fullmatch(r"[^\s.;=\"'|,{}]+", key) and key.isprintable():
            yield (*path, key), item
            if isinstance(item, dict):
                yield from _values(item, (*path, key))


def _named(field: str, values: Sequence[tuple[tuple[str, ...], Any]]) -> Guess | None:
    guesses = [guess for path, value in values if (guess := _judge(field, path, value))]
    return max(guesses, key=lambda guess: guess.score) if guesses else None


def _judge(field: str, path: tuple[str, ...], value: Any) -> Guess | None:
    key, parents = _plain(path[-1]), [_plain(parent) for parent in path[:-1]]
    names = NAMES[field]
    owner = _OWNERS.get(field)
    reasons, score = [], 0
    if owner and parents and parents[-1] == owner and key in ("id", "number", "no", "reference", "ref"):
        reasons, score = [f"the {key} of `{path[-2]}`"], 30
    elif field == "event_type" and parents and parents[-1] == "event" and key in ("type", "name"):
        reasons, score = [f"the {key} of `{path[-2]}`"], 38
    elif key in names and not _is_of_another(field, key, parents):
        reasons, score = ["its name"], 30 - names.index(key)
    shape = _shape(field, value)
    if not score or shape is None:
        return None
    if shape:
        reasons, score = [*reasons, shape], score + 12
    return Guess(field, ".".join(path), " and ".join(reasons), score - 4 * len(parents))


def _is_of_another(field: str, key: str, parents: Sequence[str]) -> bool:
    """Whether the value speaks of a person, a subscription or the signature, and not of the event."""
    if field == "event_type" and parents and key in _VAGUE:
        return parents[-1] not in _PARENTS_OF_TYPES
    return (
        field != "data"
        and any(parent == "signature" or _NO_OBJECT.fullmatch(parent) for parent in parents)
        and (field != "event_type")
    )


def _shape(field: str, value: Any) -> str | None:
    """What the form of the value says: a reason for the field, an empty text, or None when it can't be this field."""
    if field == "data":
        return "it is an object" if isinstance(value, dict) else None
    if field == "timestamp":
        return "it reads as a moment" if _is_moment(value) else None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    if field == "event_type":
        return "it reads like an event type" if isinstance(value, str) and _TYPE.fullmatch(value) else ""
    return ""


def _event_id(
    values: Sequence[tuple[tuple[str, ...], Any]],
    deliveries: Sequence[Sequence[Document]],
    scheme: SignatureScheme | None,
) -> Guess | None:
    """An ID that is the event's own, in the body or in a signed header."""
    found = []
    for path, value in values:
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            continue
        key, parent, place = _plain(path[-1]), _plain(path[-2]) if len(path) > 1 else "", ".".join(path)
        if parent in ("subscription", "webhook"):
            continue
        if key in EVENT_IDS:
            found.append(Guess("event_id", place, "its name", 30 - len(path), SURE))
        elif key in ("id", "uuid") and _OWN_ID.fullmatch(str(value)):
            found.append(Guess("event_id", place, "it reads like an ID of its own", 20 - len(path), SURE))
        elif key in ("id", "uuid", "guid") and parent in _EVENT_PARENTS:
            found.append(Guess("event_id", place, f"it is the {key} of `{path[-2]}`", 18 - len(path), LIKELY))
        elif path[-1].lower() in ("id", "uuid", "guid") and len(path) == 1 and _is_of_an_envelope(values):
            found.append(Guess("event_id", place, "it stands beside a type and a moment, and no status", 12, LIKELY))
    if scheme and scheme.id_header and _ID_HEADER.fullmatch(scheme.id_header):
        place = f"header:{scheme.id_header}"
        found.append(Guess("event_id", place, "it is a signed header with the ID of the message", 19, SURE))
    kept = [guess for guess in found if _differs(guess.place, deliveries)]
    return max(kept, key=lambda guess: guess.score) if kept else None


def _is_of_an_envelope(values: Sequence[tuple[tuple[str, ...], Any]]) -> bool:
    """Whether the top of the payload speaks of an event, not of an object with a status."""
    top = {_plain(path[0]): value for path, value in values if len(path) == 1}
    has_status = any(name in _SAME_OBJECT or name.endswith("status") for name in top)
    has_type = any(isinstance(top.get(name), str) for name in NAMES["event_type"][:11])
    has_moment = any(name in top and _is_moment(top[name]) for name in NAMES["timestamp"])
    return has_type and has_moment and not has_status


def _differs(place: str, deliveries: Sequence[Sequence[Document]]) -> bool:
    """Whether two different deliveries never have the same value there."""
    seen: dict[str, bytes] = {}
    for delivery in deliveries:
        for document in delivery:
            name = place.removeprefix("header:").lower()
            value = (
                document.beside.headers.get(name) if place.startswith("header:") else item_at(document.payload, place)
            )
            if value is None or seen.setdefault(str(value), document.body) != document.body:
                return False
    return True


def _composed(
    guesses: Mapping[str, Guess],
    values: Sequence[tuple[tuple[str, ...], Any]],
    deliveries: Sequence[Sequence[Document]],
    coverage: Coverage | None,
) -> Guess:
    """An ID of the object's ID, the type, the status and the moment. Without one of the object, the body's digest."""
    known = dict(values)
    object_id = _object_id(values, deliveries, coverage)
    if object_id is None:
        reason = (
            "nothing in it names the event or an object: a delivery that comes again must be byte for byte the same"
        )
        return Guess("event_id", "{body_sha256}", reason, 0, GUESSED)
    parts = [object_id]
    for field in ("event_type", "status"):
        guess = guesses.get(field)
        if guess and tuple(guess.place.split(".")) in known and guess.place not in parts:
            parts.append(guess.place)
    if not any(path in parts for path in _statuses(values)):
        parts += _statuses(values)[:1]
    moment = guesses["timestamp"].place
    has_moment = tuple(moment.split(".")) in known
    if has_moment and moment not in parts:
        parts.append(moment)
    reason = f"no ID is the event's own: `{object_id}` is the object's, so it is composed"
    if not has_moment and (coverage is None or not coverage.paths):
        parts.append(BODY_SHA256)
        reason += ". The body has no moment: a delivery that comes again must be byte for byte the same"
    template = ":".join(f"{{{part}}}" for part in parts)
    return Guess("event_id", template, reason, 0, LIKELY if has_moment else GUESSED)


def _object_id(
    values: Sequence[tuple[tuple[str, ...], Any]],
    deliveries: Sequence[Sequence[Document]],
    coverage: Coverage | None,
) -> str | None:
    """The path of the ID of what the event is about: signed, not the same in all deliveries, and near the top."""
    found: list[tuple[tuple[bool, bool, bool, int, int], str]] = []
    for path, value in values:
        key = _plain(path[-1])
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "" or _NO_OBJECT.fullmatch(key):
            continue
        if any(_NO_OBJECT.fullmatch(_plain(parent)) for parent in path[:-1]):
            continue
        if _OBJECT_IDS.fullmatch(key):
            exact = key in ("id", "gid", "uuid", "guid")
            place = ".".join(path)
            is_signed = coverage is None or not coverage.paths or coverage.covers(place)
            is_short = len(str(value)) < _LEAST_OBJECT_ID
            rank = (
                not is_signed,
                _is_constant(place, deliveries),
                is_short,
                3 * len(path) - 4 * exact + 4 * (key == "uri"),
                len(found),
            )
            found.append((rank, place))
    return min(found)[1] if found else None


def _is_constant(place: str, deliveries: Sequence[Sequence[Document]]) -> bool:
    found = {str(item_at(document.payload, place)) for delivery in deliveries for document in delivery}
    return len(found) == 1 and len(deliveries) > 1


def _statuses(values: Sequence[tuple[tuple[str, ...], Any]]) -> list[str]:
    return [
        ".".join(path)
        for path, value in values
        if _plain(path[-1]) in STATUSES and isinstance(value, str | int) and not isinstance(value, bool)
    ]


def _timestamp(
    guesses: dict[str, Guess],
    first: Document,
    values: Sequence[tuple[tuple[str, ...], Any]],
    scheme: SignatureScheme | None,
) -> None:
    """Without a named moment in the body: a signed header's, any moment of the body, any header's, that of arrival."""
    if "timestamp" in guesses:
        return
    signed = scheme.timestamp_header if scheme else ""
    others = [name for name in first.beside.headers if _TIME_HEADER.fullmatch(name) and name != "date"]
    found = [
        Guess("timestamp", f"header:{name}", "it is signed, and the body names no moment", 0)
        for name in [signed]
        if name
    ]
    found += [
        Guess("timestamp", ".".join(path), "it reads as a moment", 0, GUESSED)
        for path, value in values
        if _MOMENT_NAME.fullmatch(_plain(path[-1]))
        and _is_moment(value)
        and not _is_of_another("timestamp", "", path[:-1])
    ]
    found += [
        Guess("timestamp", f"header:{name}", "the body has no moment. This header is not signed", 0, GUESSED)
        for name in others
    ]
    for guess in found:
        if not guess.place.startswith("header:") or _is_moment(first.beside.headers.get(guess.place[7:].lower())):
            guesses["timestamp"] = guess
            return
    guesses["timestamp"] = Guess("timestamp", "{received_at}", "the delivery names no moment", 0, GUESSED)


def _event_type(guesses: dict[str, Guess], first: Document, values: Sequence[tuple[tuple[str, ...], Any]]) -> None:
    """Without a type in the body: the status, or a header's text, or a constant."""
    if "event_type" in guesses:
        return
    for path in _statuses(values):
        if item_at(first.payload, path) != "":
            guesses["event_type"] = Guess(
                "event_type", path, "the payload has no type, and its status says what happened", 0, GUESSED
            )
            return
    for name, value in first.beside.headers.items():
        if _TYPE_HEADER.fullmatch(name) and value:
            why = "the body has no type. This header is not signed: whoever sees a delivery can change it"
            guesses["event_type"] = Guess("event_type", f"header:{name}", why, 0, GUESSED)
            return
    guesses["event_type"] = Guess("event_type", "constant:event", "the delivery names no type", 0, GUESSED)


def _zone(guesses: Mapping[str, Guess], first: Document, cautions: list[str]) -> str:
    """The zone of a local time. When the moment of receipt is known, it follows from it."""
    value = item_at(first.payload, guesses["timestamp"].place)
    try:
        read_moment(value)
        return ""
    except NoMoment as error:
        if error.reason != "missing_offset":
            return ""
    zone = FALLBACK_ZONE
    why = "assumed, since Senang.io is in Malaysia"
    if first.beside.received_at is not None:
        off = (read_moment(value, UTC) - first.beside.received_at).total_seconds() / 3600
        near = _ZONES.get(round(off))
        if near and abs(off - round(off)) < 0.2:
            zone, why = near, "where it was that time when the delivery came"
    cautions.append(
        f"Its timestamp names no zone. SENANG_TIMESTAMP_ZONE={zone} is {why}. Ask Senang.io which zone it is."
    )
    return zone


_ZONES = {0: "UTC", 7: "Asia/Bangkok", 8: "Asia/Kuala_Lumpur", 9: "Asia/Tokyo", 1: "Europe/Paris", 5: "Asia/Karachi"}


def _without_clashes(guesses: Mapping[str, Guess]) -> dict[str, Guess]:
    """No path twice: what an event needs comes first."""
    taken: set[str] = set()
    kept = {}
    for field in ("event_id", "event_type", "timestamp", *NAMES):
        guess = guesses.get(field)
        if guess and field not in kept and guess.place not in taken:
            kept[field] = guess
            taken.add(guess.place)
    return {field: kept[field] for field in DEFAULT_FIELDS if field in kept}


def _is_moment(value: Any) -> bool:
    try:
        return 1990 <= read_moment(value, UTC).year < 2150  # a small number is not a moment
    except NoMoment:
        return False


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())
