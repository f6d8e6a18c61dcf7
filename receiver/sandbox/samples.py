"""Realistic events. Every name, NRIC, card and amount is made up (§8.3).

A partner whose handlers need more than that has a module `samples` in the package that PARTNER_PACKAGE names:

    SAMPLES = {"payment.success": {"status": "captured", "data": {"amount": "99.50", "order": "A-1"}}}

For each event type it says which fields of the envelope are to be set, and to what. A type may be of the partner's own.
"""

import random
from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from receiver.protocol.envelope import DEFAULT_FIELDS
from receiver.protocol.places import is_path, place_of

Samples = Mapping[str, Mapping[str, Any]]
"""For an event type, the fields of the envelope that a sample of it has."""
NONE: Samples = MappingProxyType({})

TYPES = (
    "payment.success",
    "payment.failed",
    "policy.issued",
    "policy.cancelled",
    "refund.processed",
    "claim.submitted",
    "claim.updated",
    "account.updated",
)
_NAMES = ("Nurul Aisyah binti Rahman", "Tan Wei Ming", "Siti Nurhaliza binti Osman", "Arjun a/l Subramaniam")
_STATUS = {
    "payment.success": "paid",
    "payment.failed": "failed",
    "policy.issued": "active",
    "policy.cancelled": "cancelled",
    "refund.processed": "refunded",
    "claim.submitted": "submitted",
    "claim.updated": "approved",
    "account.updated": "verified",
}


class UnusableSamples(Exception):
    """What the partner's samples say can't be sent. The message names the type and the field."""


def own_samples(package: str) -> Samples:
    """The samples of the partner's package, if it has any. Raises UnusableSamples."""
    if find_spec(f"{package}.samples") is None:
        return NONE
    own: Samples = import_module(f"{package}.samples").SAMPLES
    for event_type, chosen in own.items():
        if unknown := sorted(chosen.keys() - DEFAULT_FIELDS.keys()):
            raise UnusableSamples(f"{package}.samples: {event_type} sets {unknown[0]}, which is no field of an event.")
    return own


def types_of(own: Samples) -> tuple[str, ...]:
    """The published types, then those that only the partner has samples of."""
    return (*TYPES, *(event_type for event_type in own if event_type not in TYPES))


def sample(
    event_type: str, *, fields: Mapping[str, str], now: datetime, own: Samples = NONE, **changes: Any
) -> dict[str, Any]:
    """A payload of this type, as the partner's `own` samples want it. `fields` says where its fields are.

    `changes` set envelope fields; None omits one.
    """
    chance = random.Random()  # noqa: S311 - made-up data, nothing secret
    number = chance.randint(100000, 999999)
    envelope: dict[str, Any] = {
        "event_id": f"evt_{uuid4().hex}",
        "event_type": event_type,
        "timestamp": now.isoformat(timespec="milliseconds"),
        "transaction_id": f"TXN-{number}",
        "policy_id": f"POL-{number}",
        "status": _STATUS.get(event_type, "updated"),
        "data": _data(chance),
    }
    if event_type.startswith("claim."):
        envelope["claim_id"] = f"CLM-{number}"
    envelope |= {**own.get(event_type, {}), **changes}
    payload: dict[str, Any] = {"sandbox": True}
    for name in sorted(envelope, key=lambda name: fields[name].count(".")):  # or `data` would replace `data.id`
        if envelope[name] is not None:
            for path in (fields[name],) if is_path(fields[name]) else place_of(fields[name]).paths:
                put(payload, path, envelope[name])
    return payload


def put(payload: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at the dotted path. Raises ValueError if the path leads through something that is not an object."""
    *parents, last = path.split(".")
    for key in parents:
        payload = payload.setdefault(key, {})
        if not isinstance(payload, dict):
            raise ValueError(f"{key} holds a value and no further fields")  # noqa: TRY004 - of the path, not of its type
    payload[last] = value


def _data(chance: random.Random) -> dict[str, Any]:
    year, month, day = chance.randint(60, 99), chance.randint(1, 12), chance.randint(1, 28)
    return {
        "amount": f"{chance.randint(50, 4000)}.{chance.randint(0, 99):02}",
        "currency": "MYR",
        "product_code": chance.choice(("MOTOR-COMP", "TRAVEL-SEA", "PA-BASIC")),
        "customer": {
            "name": chance.choice(_NAMES),
            "nric": f"{year:02}{month:02}{day:02}-14-{chance.randint(1000, 9999)}",
            "email": f"customer{chance.randint(1, 999)}@example.com",
            "phone": f"+60 12-{chance.randint(200, 999)} {chance.randint(1000, 9999)}",
        },
    }
