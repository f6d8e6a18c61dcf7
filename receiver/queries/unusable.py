"""What keeps a quarantined body from being an event, by today's settings, and what a person can do about it.

To advise on another reason, add it to `_ADVICE`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from receiver.config import Settings
from receiver.privacy.sealing import CannotUnseal, unseal
from receiver.protocol.errors import UnusablePayload
from receiver.store.models import UNPARSED_DAYS, StoredEvent

_COMPRESSED = "Its body is compressed ({}), and nothing here unpacks it: the sender has to send plain JSON."
_ADVICE = {
    "missing_offset": (
        "Its timestamp names no zone. Set SENANG_TIMESTAMP_ZONE to the sender's zone, such as Asia/Kuala_Lumpur, "
        "then replay it."
    ),
    "not_a_timestamp": "Its timestamp can't be read. Let SENANG_PAYLOAD_FIELDS point at another field, then replay it.",
    **dict.fromkeys(
        (
            "not_json",
            "not_utf8",
            "not_an_object",
            "duplicate_key",
            "too_deep",
            "not_a_finite_number",
            "number_too_long",
        ),
        "Its body is not one JSON object that can be read in one way only. No setting changes that: ask Senang.io what "
        "it sent.",
    ),
    **{name: _COMPRESSED.format(name) for name in ("gzip", "deflate", "zstd")},
}
_OTHERWISE = "It is authentic, but no event as far as we can tell. Mend SENANG_PAYLOAD_FIELDS, then replay it."
_READS_NOW = "By today's settings it reads as an event: replay it."


@dataclass(frozen=True)
class Unusable:
    """Why a body is no event. `kept_until` is None where retention treats the body like any other."""

    errors: dict[str, list[str]]  # reasons by field; empty when it reads as an event by now
    advice: str
    kept_until: datetime | None


def look_at(settings: Settings, row: StoredEvent) -> Unusable | None:
    """Why this row is no event, or None: it is one, or its body is erased or can't be unsealed."""
    if row.quarantine_reason != "unusable" or row.sealed_payload is None:
        return None
    kept_until = None if row.parsed else row.received_at + timedelta(days=UNPARSED_DAYS)
    try:
        settings.read_event(unseal(row.sealed_payload, row=row.seal_id, keys=settings.payload_keys))
    except CannotUnseal:
        return None
    except UnusablePayload as error:
        reasons = [reason for found in error.errors.values() for reason in found]
        advice = [_ADVICE[reason] for reason in reasons if reason in _ADVICE]
        return Unusable(error.errors, " ".join(advice) or _OTHERWISE, kept_until)
    return Unusable({}, _READS_NOW, kept_until)
