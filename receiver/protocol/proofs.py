"""How a signature is computed or checked: a table of named functions, one for each algorithm of a scheme.

Symmetric algorithms have a function that makes the bytes of the signature; the text is compared in constant time.
Algorithms with a public key have a function that checks the bytes. To add an algorithm: a line in `DIGESTS` or `CHECKS`
and its name in schemes.py.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from cryptography.exceptions import InvalidSignature as WrongSignature
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hmac import HMAC

from receiver.protocol.errors import UnusableSecret

_LEAST_RSA_BITS = 2048
_ED25519_BYTES = 32
_P256_BYTES = 32
_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha1": hashes.SHA1(),  # noqa: S303 - only for reading old senders
}


def digest(algorithm: str, key: bytes, content: bytes) -> bytes:
    """The bytes of a symmetric signature."""
    if algorithm in DIGESTS:
        return DIGESTS[algorithm](key, content)
    made = _keyed(algorithm, key).copy()
    made.update(content)
    return made.finalize()


def is_right(algorithm: str, key: bytes, signature: bytes, content: bytes) -> bool:
    """Whether the owner of the public key signed the content."""
    try:
        CHECKS[algorithm](_loaded(key), signature, content)
    except (WrongSignature, ValueError):
        return False
    return True


def public_key_bytes(algorithm: str, key: bytes) -> bytes:
    """The public key as DER, of a PEM, a DER, its base64, or the 32 bytes of Ed25519. Raises UnusableSecret."""
    loaded = _read(key)
    kinds = {"ed25519": Ed25519PublicKey, "ecdsa-p256-sha256": ec.EllipticCurvePublicKey}
    kind: Any = kinds.get(algorithm, rsa.RSAPublicKey)
    if not isinstance(loaded, kind):
        raise UnusableSecret("no_public_key_of_this_algorithm")
    if isinstance(loaded, rsa.RSAPublicKey) and loaded.key_size < _LEAST_RSA_BITS:
        raise UnusableSecret("too_short")
    if isinstance(loaded, ec.EllipticCurvePublicKey) and not isinstance(loaded.curve, ec.SECP256R1):
        raise UnusableSecret("no_public_key_of_this_algorithm")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der: bytes = loaded.public_bytes(serialization.Encoding.DER, form)
    return der


@lru_cache(64)
def _keyed(algorithm: str, key: bytes) -> HMAC:
    """What every HMAC with this key begins with. `hmac.digest()` makes it each time, which is half of its work."""
    return HMAC(key, _HASHES[algorithm])


def _hash(name: str, _key: bytes, content: bytes) -> bytes:
    return hashlib.new(name, content).digest()


def _token(key: bytes, _content: bytes) -> bytes:
    return key


DIGESTS: Mapping[str, Callable[[bytes, bytes], bytes]] = {
    **{f"hash-{name}": partial(_hash, name) for name in _HASHES},
    "token": _token,
}


def _read(key: bytes) -> Any:
    try:
        text = key.replace(b"\\n", b"\n")
        if text.startswith(b"-----BEGIN"):
            return serialization.load_pem_public_key(text)
        raw = base64.b64decode(key, validate=True) if key.isascii() and len(key) > _ED25519_BYTES else key
        if len(raw) == _ED25519_BYTES:
            return Ed25519PublicKey.from_public_bytes(raw)
        return serialization.load_der_public_key(raw)
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise UnusableSecret("malformed") from None


@lru_cache(64)
def _loaded(key: bytes) -> Any:
    return serialization.load_der_public_key(key)


def _ed25519(key: Any, signature: bytes, content: bytes) -> None:
    key.verify(signature, content)


def _rsa(name: str, key: Any, signature: bytes, content: bytes) -> None:
    key.verify(signature, content, padding.PKCS1v15(), _HASHES[name])


def _rsa_pss(name: str, key: Any, signature: bytes, content: bytes) -> None:
    scheme = padding.PSS(padding.MGF1(_HASHES[name]), padding.PSS.AUTO)
    key.verify(signature, content, scheme, _HASHES[name])


def _ecdsa(name: str, key: Any, signature: bytes, content: bytes) -> None:
    if len(signature) == 2 * _P256_BYTES:  # r and s side by side; else DER, which is longer
        parts = (signature[:_P256_BYTES], signature[_P256_BYTES:])
        signature = encode_dss_signature(*(int.from_bytes(part, "big") for part in parts))
    key.verify(signature, content, ec.ECDSA(_HASHES[name]))


CHECKS: Mapping[str, Callable[[Any, bytes, bytes], None]] = {
    "ed25519": _ed25519,
    "rsa-sha256": partial(_rsa, "sha256"),
    "rsa-sha512": partial(_rsa, "sha512"),
    "rsa-pss-sha256": partial(_rsa_pss, "sha256"),
    "ecdsa-p256-sha256": partial(_ecdsa, "sha256"),
}
