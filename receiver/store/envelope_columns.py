"""What the events table keeps of an envelope, beside the event's ID. To keep one more field: a line here.

A new event is written by statements of its own, so `Arrival` in receiver/ingest/arrivals.py has a field of each name.
"""

from typing import Any

from receiver.protocol.envelope import Event


def envelope_columns(event: Event) -> dict[str, Any]:
    """The columns and their values."""
    return {
        "event_type": event.type,
        "occurred_at": event.occurred_at,
        "transaction_id": event.transaction_id,
        "policy_id": event.policy_id,
        "claim_id": event.claim_id,
        "reported_status": event.status,
    }
