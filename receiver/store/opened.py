"""A stored row's event in clear text. A worker opens what it has a lease on by itself (receiver/worker/attempt.py)."""

from receiver.config import Settings
from receiver.privacy.sealing import CannotUnseal, unseal
from receiver.protocol.envelope import Event
from receiver.store.models import StoredEvent


def opened(settings: Settings, row: StoredEvent) -> Event:
    """The event as its handler gets it. Raises CannotUnseal, also where it was erased, and UnusablePayload."""
    if row.sealed_payload is None:
        raise CannotUnseal("erased")
    body = unseal(row.sealed_payload, row=row.seal_id, keys=settings.payload_keys)
    return settings.read_event(body, row.received_at, is_ours=row.is_follow_up, is_parsed=row.parsed)
