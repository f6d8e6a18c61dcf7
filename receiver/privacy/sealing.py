"""How payloads are encrypted at rest (§9.3): AES-256-GCM, bound to the row they belong to and to their key's ID.

A sealed payload has four parts: version (1 byte), key ID (8), nonce (12), ciphertext. To rotate: put a new key in
front, run `flask --app wsgi events reseal`, then remove the old key.

    SealingError
    ├── UnusableKey     a key of the setting that must not be used
    └── CannotUnseal    unknown_key, tampered or malformed
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

_VERSION = b"\x01"
_KEY_ID_LENGTH = 8
_NONCE_LENGTH = 12
_HEADER_LENGTH = len(_VERSION) + _KEY_ID_LENGTH + _NONCE_LENGTH


class SealingError(Exception):
    """The root of all errors of sealing."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class UnusableKey(SealingError):
    """A key that is empty, malformed, of the wrong length, repeated or a placeholder."""


class CannotUnseal(SealingError):
    """The payload can't be opened with these keys for this row."""


@dataclass(frozen=True)
class SealingKey:
    """A key, and the ID that is derived from it. So nobody has to number keys."""

    id: str
    secret: bytes = field(repr=False)

    @cached_property
    def cipher(self) -> AESGCM:
        """The cipher of this key."""
        return AESGCM(self.secret)

    @cached_property
    def digests(self) -> HMAC:
        """What every digest begins with: a separate key, so that no two uses share one."""
        return HMAC(hmac.digest(self.secret, b"senang body digest", "sha256"), SHA256())


def parse_keys(text: str) -> tuple[SealingKey, ...]:
    """The keys of a setting: comma-separated, newest first, each 32 bytes as hex or base64. Raises UnusableKey."""
    keys = tuple(_parse_key(part.strip()) for part in text.split(","))
    if len({key.id for key in keys}) < len(keys):
        raise UnusableKey("repeated")
    return keys


def seal(plaintext: bytes, *, row: UUID, keys: Sequence[SealingKey]) -> bytes:
    """Encrypt with the newest key. The result opens for this row only."""
    key = keys[0]
    nonce = os.urandom(_NONCE_LENGTH)
    prefix = _VERSION + key.id.encode()
    return prefix + nonce + key.cipher.encrypt(nonce, plaintext, prefix + row.bytes)


def unseal(sealed: bytes, *, row: UUID, keys: Sequence[SealingKey]) -> bytes:
    """Decrypt with the key that the payload names. Raises CannotUnseal."""
    key = _find(keys, sealing_key_id(sealed))
    prefix, nonce = sealed[: 1 + _KEY_ID_LENGTH], sealed[1 + _KEY_ID_LENGTH : _HEADER_LENGTH]
    if key is None:
        raise CannotUnseal("unknown_key")
    try:
        return key.cipher.decrypt(nonce, sealed[_HEADER_LENGTH:], prefix + row.bytes)
    except InvalidTag:
        raise CannotUnseal("tampered") from None


def sealing_key_id(sealed: bytes) -> str:
    """The ID of the key that it names. Raises CannotUnseal."""
    if len(sealed) < _HEADER_LENGTH or sealed[:1] != _VERSION:
        raise CannotUnseal("malformed")
    return sealed[1 : 1 + _KEY_ID_LENGTH].decode("latin-1")


def body_digest(body: bytes, keys: Sequence[SealingKey]) -> str:
    """A keyed digest, `keyid:hex`. Without a key, a payload with an NRIC in it could be guessed in seconds."""
    return f"{keys[0].id}:{_digest(keys[0], body)}"


def digest_matches(digest: str, body: bytes, keys: Sequence[SealingKey]) -> bool | None:
    """Whether the digest is of this body. None if nobody can tell, because its key is gone."""
    key_id, _, expected = digest.partition(":")
    key = _find(keys, key_id)
    return None if key is None else hmac.compare_digest(expected.encode(), _digest(key, body).encode())


def _digest(key: SealingKey, body: bytes) -> str:
    digest = key.digests.copy()  # `hmac.digest()` would make it each time, which is half of its work
    digest.update(body)
    return digest.finalize().hex()


def _find(keys: Sequence[SealingKey], key_id: str) -> SealingKey | None:
    return next((key for key in keys if key.id == key_id), None)


def _parse_key(text: str) -> SealingKey:
    if not text:
        raise UnusableKey("empty")
    try:
        if len(text) == 64:
            secret = bytes.fromhex(text)
        else:
            secret = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise UnusableKey("malformed") from None
    if len(secret) != 32:
        raise UnusableKey("wrong_length")
    if len(set(secret)) < 8:
        raise UnusableKey("placeholder")
    return SealingKey(hashlib.sha256(b"senang sealing key id" + secret).hexdigest()[:_KEY_ID_LENGTH], secret)
