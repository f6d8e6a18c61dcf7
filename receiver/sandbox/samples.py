"""Realistic events. Every name, NRIC, card and amount is made up (§8.3)."""

import random
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

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


def sample(event_type: str, *, fields: Mapping[str, str], now: datetime, **changes: Any) -> dict[str, Any]:
    """A payload of this type. `fields` says where its fields are. `changes` set envelope fields; None omits one."""
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
    envelope |= changes
    payload: dict[str, Any] = {"sandbox": True}
    for name in sorted(envelope, key=lambda name: fields[name].count(".")):  # or `data` would replace `data.id`
        if envelope[name] is not None:
            put(payload, fields[name], envelope[name])
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
