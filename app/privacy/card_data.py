"""What must never be stored, not even sealed: card verification codes, PINs and track data (PCI DSS 3.3.1)."""

import re

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
_TRACK = re.compile(r"%B\d{12,19}\^[^^]{2,26}\^\d{4}|;\d{12,19}=\d{4}")


def drop_authentication_data(payload: object) -> tuple[object, bool]:
    """The payload without such data at any depth, and whether there was any."""
    if isinstance(payload, dict):
        kept = {key: drop_authentication_data(value) for key, value in payload.items() if not _forbidden(key)}
        changed = len(kept) < len(payload) or any(dropped for _, dropped in kept.values())
        return {key: value for key, (value, _) in kept.items()}, changed
    if isinstance(payload, list):
        items = [drop_authentication_data(item) for item in payload]
        return [value for value, _ in items], any(dropped for _, dropped in items)
    if isinstance(payload, str) and _TRACK.search(payload):
        return None, True
    return payload, False


def _forbidden(key: str) -> bool:
    return re.sub(r"[^a-z0-9]", "", key.lower()) in _KEYS
