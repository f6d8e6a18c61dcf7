"""What can be wrong with a delivery. Each error has a stable reason code; its wording may change.

    ProtocolError
    ├── InvalidSignature      not provably from Senang.io
    │   └── StaleTimestamp    the signature is right, but its timestamp is outside the tolerance
    ├── UnusablePayload       authentic, but it can't be read as an event
    ├── InvalidScheme         a setting of the signature scheme or the field mapping makes no sense
    └── UnusableSecret        a signing secret that must not be used

Reasons of InvalidSignature: missing_signature, malformed_signature, too_many_signatures, wrong_signature,
missing_id, malformed_id, missing_timestamp, malformed_timestamp. Where fields of the body are signed, there are also
malformed_body; too_deep, too_many_values and paths_too_long (reading it would cost too much); and ambiguous (the
signature is right, but another body has it too). Reasons of StaleTimestamp: timestamp_too_old, timestamp_too_new. No
error ever quotes a secret or a value of the payload.
"""

from typing import Any


class ProtocolError(Exception):
    """The root of everything that can be wrong with a delivery."""


class InvalidSignature(ProtocolError):
    """The delivery is not provably from Senang.io."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class StaleTimestamp(InvalidSignature):
    """The delivery is authentic, but outside the tolerance. `body` is what the signature vouches for.

    `key_index` says which secret matched; 0 is the newest.
    """

    def __init__(self, reason: str, body: bytes, key_index: int) -> None:
        self.body, self.key_index = body, key_index
        super().__init__(reason)


class UnusablePayload(ProtocolError):
    """The body is authentic, but not an event. `errors` maps a field to its reasons, and never quotes a value."""

    def __init__(self, errors: dict[str, list[str]], payload: dict[str, Any] | None = None) -> None:
        self.errors = errors
        self.payload = payload
        super().__init__(", ".join(f"{field}: {'/'.join(reasons)}" for field, reasons in errors.items()))


class InvalidScheme(ProtocolError):
    """A setting that makes no sense."""

    def __init__(self, field: str, reason: str) -> None:
        self.field, self.reason = field, reason
        super().__init__(f"{field}: {reason}")


class UnusableSecret(ProtocolError):
    """A secret that is empty, too short, a placeholder, public or undecodable."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
