"""What is written for a new event: its row, and the audit row of its first delivery.

What is new is decided by the unique index on `event_id` alone. The two stores that write it go past SQLAlchemy, because
here its comfort would be most of the time that a delivery takes.

To keep one more column of an event: a field of `Arrival`, its line in `COLUMNS`, and its value in both stores.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Arrival(NamedTuple):
    """A new event as it is kept, sealed, and what its audit row says of the delivery."""

    seal_id: UUID
    body_digest: str
    sealed_payload: bytes
    event_id: str
    event_type: str
    occurred_at: datetime
    transaction_id: str | None
    policy_id: str | None
    claim_id: str | None
    reported_status: str | None
    request_id: str
    duration_ms: int
    detail: str | None

    def __repr__(self) -> str:
        """Without what a sender chose."""
        return f"Arrival({self.seal_id})"


COLUMNS = {
    "seal_id": "uuid",
    "body_digest": "text",
    "sealed_payload": "bytea",
    "event_id": "text",
    "event_type": "text",
    "occurred_at": "timestamptz",
    "transaction_id": "text",
    "policy_id": "text",
    "claim_id": "text",
    "reported_status": "text",
}
"""The columns of `events` that an arrival fills, with their types on PostgreSQL."""
FIELDS = {**COLUMNS, "request_id": "text", "duration_ms": "integer", "detail": "text"}
KEPT = ", ".join(COLUMNS)
ARRIVED = ", ".join(FIELDS)
SAME_FOR_ALL = "environment, sealing_key, state, received_at, due_at"
AUDIT = "event_id, event_type, request_id, duration_ms, detail, inbox_id, action, result, at"
