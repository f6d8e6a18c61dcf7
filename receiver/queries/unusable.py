"""Why a quarantined body can't be read as an event under the present settings, and what a person can do about it.

To advise on another reason, add it to `_ADVICE`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from receiver.config import Settings
from receiver.privacy.sealing import CannotUnseal
from receiver.protocol.errors import UnusablePayload
from receiver.store.models import UNPARSED_DAYS, StoredEvent
from receiver.store.opened import opened

_COMPRESSED = "The body is compressed ({}). The receiver does not unpack that: ask for plain JSON, or gzip."
_ADVICE = {
    "missing_offset": (
        "The timestamp has no zone. Set SENANG_TIMESTAMP_ZONE to the sender's zone, such as Asia/Kuala_Lumpur, "
        "then replay the delivery."
    ),
    "not_a_timestamp": "The timestamp can't be read. Name another field in SENANG_PAYLOAD_FIELDS, then replay it.",
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
        "The body is not a JSON object, or it can be read in two ways. No setting can change that. Ask Senang.io what "
        "it sent.",
    ),
    **{name: _COMPRESSED.format(name) for name in ("deflate", "zstd")},
    "gzip": "The body is compressed by gzip, and it is broken, or its signature is not over the compressed bytes.",
    "too_large": "Unpacked, the body is larger than MAX_BODY_BYTES. Raise that setting, then replay the delivery.",
    "several_events": "The body holds several events. Ask Senang.io to send it again, under the present settings.",
    **dict.fromkeys(
        ("no_events", "not_a_form", "too_many_events", "too_many_values"),
        "The body is not what SENANG_SIGNATURE_BODY_FORMAT and SENANG_PAYLOAD_EVENTS say. Correct them, then replay.",
    ),
}
_OTHERWISE = (
    "The delivery is authentic, but it can't be read as an event. Correct SENANG_PAYLOAD_FIELDS, then replay it."
)
_READS_NOW = "With the present settings, it can be read as an event. Replay it."


@dataclass(frozen=True)
class Unusable:
    """Why a body can't be read as an event. `kept_until` is None if retention treats the body like any other."""

    errors: dict[str, list[str]]  # reasons by field; empty when it can be read now
    advice: str
    kept_until: datetime | None


def look_at(settings: Settings, row: StoredEvent) -> Unusable | None:
    """Why this row is not an event. None if it is one, or if its body is erased or can't be unsealed."""
    if row.quarantine_reason != "unusable" or row.sealed_payload is None:
        return None
    kept_until = None if row.parsed else row.received_at + timedelta(days=UNPARSED_DAYS)
    try:
        opened(settings, row)
    except CannotUnseal:
        return None
    except UnusablePayload as error:
        reasons = [reason for found in error.errors.values() for reason in found]
        advice = [_ADVICE[reason] for reason in reasons if reason in _ADVICE]
        return Unusable(error.errors, " ".join(advice) or _OTHERWISE, kept_until)
    return Unusable({}, _READS_NOW, kept_until)
