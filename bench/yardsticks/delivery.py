"""What a yardstick does with a delivery before it is stored: verified, parsed, masked, sealed by our own pure code.

So all pay for the same cryptography and the same masking. MASKING=later leaves the masking to whoever runs the handler,
which is how our own receiver has it.
"""

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from receiver.privacy.masking import mask_payload
from receiver.privacy.sealing import body_digest, parse_keys, seal
from receiver.protocol.envelope import DEFAULT_FIELDS, Event, parse_event
from receiver.protocol.errors import InvalidSignature, UnusablePayload
from receiver.protocol.schemes import key_bytes, scheme_from
from receiver.protocol.signatures import verify

SCHEME = scheme_from("standard-webhooks", {})
SIGNATURE_KEYS = tuple(key_bytes(SCHEME, text) for text in os.environ["SENANG_WEBHOOK_SECRETS"].split(","))
PAYLOAD_KEYS = parse_keys(os.environ["PAYLOAD_KEYS"])
TOLERANCE = timedelta(seconds=int(os.environ.get("SENANG_TIMESTAMP_TOLERANCE", "300")))
MASKS_AT_ONCE = os.environ.get("MASKING") != "later"
REFERENCES = ("event_id", "transaction_id", "policy_id", "claim_id")
REFUSED = (InvalidSignature, UnusablePayload)
"""What `event_row()` raises."""


def event_row(body: bytes, header: Callable[[str], str | None]) -> dict[str, Any]:
    """The row in `events` of a delivery that is authentic and an event. Raises REFUSED."""
    now = datetime.now(UTC)
    sent = {name: value for name in SCHEME.headers if (value := header(name)) is not None}
    verify(body, sent, scheme=SCHEME, keys=SIGNATURE_KEYS, now=now, tolerance=TOLERANCE)
    event = parse_event(body, DEFAULT_FIELDS)
    seal_id = uuid4()
    return {
        "seal_id": seal_id,
        "event_id": event.id,
        "event_type": event.type,
        "occurred_at": event.occurred_at,
        "received_at": now,
        "due_at": now,
        "transaction_id": event.transaction_id,
        "policy_id": event.policy_id,
        "claim_id": event.claim_id,
        "reported_status": event.status,
        "environment": "sandbox",
        "state": "pending",
        "body_digest": body_digest(body, PAYLOAD_KEYS),
        "sealed_payload": seal(body, row=seal_id, keys=PAYLOAD_KEYS),
        "sealing_key": PAYLOAD_KEYS[0].id,
        "masked_payload": _masked(event) if MASKS_AT_ONCE else None,
    }


def audit_row(event: Mapping[str, Any]) -> dict[str, Any]:
    """The row in `audit_log` that goes with it, without the number of the event's row."""
    return {
        "at": event["received_at"],
        "action": "delivery",
        "result": "accepted",
        "event_id": event["event_id"],
        "event_type": event["event_type"],
    }


def _masked(event: Event) -> str:
    return json.dumps(mask_payload(dict(event.payload), references=REFERENCES))
