"""Reads and writes a JSON Web Token (RFC 7519). The scheme fixes its algorithm, and what the token says must agree.

The token never chooses how it is verified: that is the classic hole. proofs.py verifies the signature.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from receiver.protocol.errors import UnusablePayload
from receiver.protocol.json_body import parse_object

LONGEST = 1024 * 1024
_COMPACT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Token(NamedTuple):
    """A token in its parts, not yet verified."""

    signed: bytes  # what the signature is over
    claims: bytes  # JSON
    signature: bytes

    def __repr__(self) -> str:
        """Without what it says."""
        return f"Token({len(self.signed)} bytes)"


def parse_token(text: bytes, algorithm: str) -> Token | None:
    """The token, if it is one of this algorithm, such as HS256. A second spelling of a token is none."""
    if len(text) > LONGEST or not _COMPACT.fullmatch(text):
        return None
    signed, _, last = text.rpartition(b".")
    first, _, middle = signed.partition(b".")
    head, claims, signature = (_decoded(part) for part in (first, middle, last))
    if head is None or claims is None or signature is None:
        return None
    try:
        header = parse_object(head)
    except UnusablePayload:
        return None
    is_expected = header.get("alg") == algorithm and "crit" not in header and "b64" not in header
    return Token(signed, claims, signature) if is_expected else None


def make_token(algorithm: str, claims: bytes, sign: Callable[[bytes], bytes]) -> str:
    """The token of these claims, which are JSON. `sign` makes the bytes of its signature."""
    signed = b".".join(_encoded(part) for part in (b'{"alg":"%b","typ":"JWT"}' % algorithm.encode(), claims))
    return (signed + b"." + _encoded(sign(signed))).decode()


def claims_of(token: Token) -> dict[str, Any] | None:
    """What a verified token says, or None when it is not an object."""
    try:
        return parse_object(token.claims)
    except UnusablePayload:
        return None


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def _decoded(part: bytes) -> bytes | None:
    try:
        raw = base64.b64decode(part.translate(_STANDARD) + b"=" * (-len(part) % 4), validate=True)
    except binascii.Error:
        return None
    return raw if _encoded(raw) == part else None


_STANDARD = bytes.maketrans(b"-_", b"+/")
