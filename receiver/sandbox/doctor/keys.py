"""How the bytes of a key may be made from the text of a secret: one candidate for each way.

To try another way, add an encoding to `SECRET_ENCODINGS` in schemes.py, and its place here.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from receiver.protocol.errors import UnusableSecret
from receiver.protocol.proofs import public_key_bytes
from receiver.protocol.schemes import PUBLIC_KEYS, decode_secret

USUAL = ("utf-8", "base64", "hex")
DERIVED = ("sha256-hex", "sha256", "sha512-hex", "sha512")
_LEAST_PUBLIC_KEY = 32


@dataclass(frozen=True, repr=False)
class Key:
    """One way to make the bytes of a key from a secret. `algorithm` is set for a public key only."""

    prefix: str
    encoding: str
    key: bytes
    algorithm: str = ""


def keys(secret: str, encodings: tuple[str, ...] = USUAL) -> list[Key]:
    """The secret as text, hex or base64, whole or after a prefix such as `whsec_`."""
    found: dict[bytes, Key] = {}
    for prefix in _prefixes(secret):
        for encoding in encodings:
            with suppress(UnusableSecret):
                key = decode_secret(encoding, secret.removeprefix(prefix))
                found.setdefault(key, Key(prefix, encoding, key))
    return [key for key in found.values() if key.key]


def public_keys(secret: str) -> Iterator[Key]:
    """The secret as a public key, for each algorithm that it can check."""
    seen = set()
    for key in keys(secret):
        if len(key.key) < _LEAST_PUBLIC_KEY:
            continue
        for algorithm in (*PUBLIC_KEYS, "jwt-rs256"):
            with suppress(UnusableSecret):
                der = public_key_bytes(algorithm, key.key)
                if (algorithm, der) not in seen:
                    seen.add((algorithm, der))
                    yield Key(key.prefix, key.encoding, der, algorithm)


def _prefixes(secret: str) -> list[str]:
    return ["", *(secret[: match.end()] for match in re.finditer("_", secret[:16]))]
