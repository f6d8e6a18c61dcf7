"""What must never be stored, not even sealed: card verification codes, PINs and track data (PCI DSS 3.3.1)."""

import re

from app.remembered import remembered

_KEYS = frozenset(
    [
        "cvv",
        "cvv2",
        "cvc",
        "cvc2",
        "cid",
        "cav2",
        "csc",
        "cardcode",
        "securitycode",
        "cardsecuritycode",
        "verificationcode",
        "cardverificationvalue",
        "pin",
        "pinblock",
        "cardpin",
        "track",
        "trackdata",
        "track1",
        "track2",
        "track1data",
        "track2data",
        "magstripe",
        "magneticstripe",
    ]
)
SHORTEST_TRACK = 18
_MAY_HOLD = (str, dict, list)
_TRACK = re.compile(r"%B\d{12,19}\^[^^]{2,26}\^\d{4}|;\d{12,19}=\d{4}")


def drop_authentication_data(payload: object) -> tuple[object, bool]:
    """The payload without such data at any depth, and whether there was any."""
    if not _holds_any(payload):
        return payload, False
    return _without(payload), True


def _holds_any(payload: object) -> bool:
    if isinstance(payload, str):
        return len(payload) >= SHORTEST_TRACK and _TRACK.search(payload) is not None
    if isinstance(payload, dict):
        for key, value in payload.items():
            if _forbidden(key) or (isinstance(value, _MAY_HOLD) and _holds_any(value)):
                return True
        return False
    return isinstance(payload, list) and any(_holds_any(item) for item in payload)


def _without(payload: object) -> object:
    if isinstance(payload, dict):
        return {key: _without(value) for key, value in payload.items() if not _forbidden(key)}
    if isinstance(payload, list):
        return [_without(item) for item in payload]
    return None if isinstance(payload, str) and _holds_any(payload) else payload


@remembered
def _forbidden(key: str) -> bool:
    name = key.lower().replace("_", "")
    return (name if name.isascii() and name.isalnum() else re.sub(r"[^a-z0-9]", "", name)) in _KEYS
