"""What is written for a new event: its row, the audit row of its first delivery, and whom the index finds it by.

What is new is decided by the unique index on `event_id` alone. The two stores that write it go past SQLAlchemy, because
here its comfort would be most of the time that a delivery takes.

To keep one more column of an event: a field of `Arrival` that is named like the column, before `request_id`. The stores
write whatever fields there are.
"""

from datetime import datetime
from typing import Any, NamedTuple, get_type_hints
from uuid import UUID

from receiver.privacy.person import Entry


class Arrival(NamedTuple):
    """A new event as it is kept, sealed; then, from `request_id` on, what its audit row says of the delivery.

    Last come its entries in the index of people: none while SUBJECT_FIELDS is empty.
    """

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
    traceparent: str | None
    request_id: str
    duration_ms: int
    detail: str | None
    entries: tuple[Entry, ...] = ()

    def __repr__(self) -> str:
        """Without what a sender chose."""
        return f"Arrival({self.seal_id})"


_POSTGRESQL: dict[Any, str] = {
    UUID: "uuid",
    bytes: "bytea",
    str: "text",
    str | None: "text",
    datetime: "timestamptz",
    int: "integer",
}
FIELDS = {name: _POSTGRESQL[kind] for name, kind in get_type_hints(Arrival).items() if name != "entries"}
"""The fields of an arrival that are columns, with their types on PostgreSQL."""
COLUMNS = tuple(FIELDS)[: list(FIELDS).index("request_id")]
"""Those that are columns of `events`."""
OF_AUDIT = tuple(FIELDS)[len(COLUMNS) :]
"""The others: columns of `audit_log`."""
ARRIVED = ", ".join(FIELDS)
KEPT = ", ".join(COLUMNS)
SAME_FOR_ALL = "environment, sealing_key, state, received_at, due_at"
AUDITED = ", ".join(("event_id", "event_type", *OF_AUDIT))
INDEXED = "inbox_id, digest, kind, key_id"
"""The columns of `person_index`."""
AUDIT = f"{AUDITED}, inbox_id, action, result, at"
