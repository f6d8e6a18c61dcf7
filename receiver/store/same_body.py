"""Whether a delivery says the same as a stored body. Then it is a retry, even if its bytes differ.

A retry may have its keys in another order, other white space, or other values in the fields that
SENANG_CHANGING_FIELDS names, such as a counter of attempts. With any other difference, it is another body.
"""

from contextlib import suppress
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.config import Settings
from receiver.privacy.card_data import drop_authentication_data
from receiver.privacy.sealing import CannotUnseal, digest_matches, unseal
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.json_body import parse_object, same_value, without_paths
from receiver.protocol.kept import unpack
from receiver.store.models import StoredEvent

KEPT = (StoredEvent.id, StoredEvent.body_digest, StoredEvent.seal_id)
"""What has to be known of a row to compare its body."""
NOBODY_CAN_TELL = "the first body was erased or can't be unsealed: nobody can tell whether this one says the same"


class Kept(Protocol):
    """A row with the columns of `KEPT`."""

    @property
    def id(self) -> int:
        """Its number."""

    @property
    def body_digest(self) -> str:
        """Of the bytes that came first."""

    @property
    def seal_id(self) -> UUID:
        """What its sealed payload is bound to."""


def says_the_same(session: Session, settings: Settings, kept: Kept, body: bytes) -> bool | None:
    """Whether the body says the same as the stored one. None when the bytes differ and the stored body can't be read.

    The stored body is fetched and parsed only when the bytes differ.
    """
    same_bytes = digest_matches(kept.body_digest, body, settings.payload_keys)
    if same_bytes:
        return True
    sealed = session.scalar(sa.select(StoredEvent.sealed_payload).where(StoredEvent.id == kept.id))
    with suppress(CannotUnseal, UnusablePayload):
        if sealed is not None:
            first = unpack(unseal(sealed, row=kept.seal_id, keys=settings.payload_keys)).body
            return same_value(_saying(settings, first), _saying(settings, body))
    return None if same_bytes is False else True  # the key of its digest is gone: as good as the same


def _saying(settings: Settings, body: bytes) -> Any:
    """What a body says. What may not be stored is left out: the kept body lacks it (PCI DSS 3.3.1)."""
    payload: Any = drop_authentication_data(parse_object(body, literal_numbers=True))[0]
    return without_paths(payload, settings.changing_fields)
