"""What people see of a stored body (§9.3). It is masked once, when its handler has it open, and is then stored.

So an acknowledgement does not wait for the masking. Until the first attempt is settled, a row has no masked payload,
and each look at it masks it anew. Before retention erases a sealed payload, it stores the masked one if it is missing.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from receiver.config import Settings
from receiver.privacy.escaping import escaped_json
from receiver.privacy.masking import mask_payload
from receiver.privacy.sealing import CannotUnseal, unseal
from receiver.protocol.envelope import DEFAULT_FIELDS
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.json_body import parse_value, to_json
from receiver.protocol.kept import unpack
from receiver.store.models import StoredEvent

_REFERENCES = ("event_id", "transaction_id", "policy_id", "claim_id")


def masked_text(settings: Settings, payload: Mapping[str, Any] | None, body: bytes, *, is_ours: bool = False) -> str:
    """The masked payload as JSON. A reference number may pass wherever the partner's mapping finds one.

    A follow-up `is_ours`: it has our own fields.
    """
    if payload is None:
        return json.dumps(f"[unparsed body, {len(body)} bytes]")
    fields = DEFAULT_FIELDS if is_ours else settings.payload_fields
    references = {fields[name] for name in _REFERENCES}
    return to_json(mask_payload(dict(payload), references=references))


def masked_body(settings: Settings, body: bytes, *, is_ours: bool, is_parsed: bool = True) -> str:
    """The masked payload of bytes that were sealed."""
    try:
        event = settings.read_event(body, is_ours=is_ours, is_parsed=is_parsed)
        return masked_text(settings, event.payload, body, is_ours=is_ours)
    except UnusablePayload as error:
        return masked_text(settings, error.payload, unpack(body).body)


def visible_payload(settings: Settings, row: StoredEvent) -> object | None:
    """What people may see of a row. None if retention has erased it, or if no key opens it."""
    text = row.masked_payload
    if text is None and row.sealed_payload is not None:
        with suppress(CannotUnseal):
            body = unseal(row.sealed_payload, row=row.seal_id, keys=settings.payload_keys)
            text = masked_body(settings, body, is_ours=row.is_follow_up, is_parsed=row.parsed)
    return None if text is None else escaped_json(parse_value(text))  # an old masked payload may not be escaped
