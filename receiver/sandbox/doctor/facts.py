"""What can be proven about a delivery that no scheme fits. Each fact is a sentence with what to do.

To prove another fact: a function in `_FACTS`.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from receiver.protocol.documents import GZIP
from receiver.protocol.tokens import claims_of
from receiver.sandbox.doctor.budget import Budget
from receiver.sandbox.doctor.contents import Candidate, bodies, hashed_bodies, whole_fields
from receiver.sandbox.doctor.keys import keys, public_keys
from receiver.sandbox.doctor.places import HMAC_OF_LENGTH, MD5_BYTES, SIGNATURE_NAME, Place, places, texts
from receiver.sandbox.doctor.sequences import in_any_order, in_order
from receiver.sandbox.doctor.tokens import jwts, password_of, signed_jwts
from receiver.sandbox.doctor.view import View

_DER = b"\x30"
_RSA_LENGTHS = (256, 384, 512)
_LEAST_OPAQUE = 12


def md5(view: View, secrets: Sequence[str], budget: Budget) -> str:
    """The sentence that names MD5, if one of the secrets made a signature with it. Else nothing."""
    known = [key.key for secret in secrets for key in keys(secret)]
    for place in places(view, lengths=(MD5_BYTES,)):
        for level in (bodies, hashed_bodies, whole_fields, in_order, in_any_order):
            for candidate in level(view, place):
                if _is_md5(candidate, place, known):
                    return (
                        f"The {place.words} is MD5, made with your secret. MD5 is broken: anybody can make two bodies "
                        "with one hash. The receiver refuses it. Ask Senang.io to sign with HMAC-SHA256."
                    )
                if budget.is_spent:
                    return ""
    return ""


def _is_md5(candidate: Candidate, place: Place, known: Sequence[bytes]) -> bool:
    for key in known:
        content = b"".join(key if piece is None else piece for piece in candidate.pieces)
        if None in candidate.pieces and hashlib.md5(content).digest() == place.digest:  # noqa: S324 - to name it
            return True
        if hmac.digest(key, content, "md5") == place.digest:
            return True
    return False


def facts(view: View, secrets: Sequence[str]) -> list[str]:
    """All that is certain, what matters most first."""
    return list(dict.fromkeys(sentence for fact in _FACTS for sentence in fact(view, secrets)))


def unexplained(view: View) -> list[str]:
    """Headers, fields and parameters that may be a signature or a token, though they have no known shape."""
    found = []
    for axis, name, value in texts(view):
        is_opaque = len(value) >= _LEAST_OPAQUE and SIGNATURE_NAME.search(name) and " " not in value.strip()
        if is_opaque or (axis == "header" and name.lower() in ("authorization", "x-api-key")):
            found.append(f"{axis.split('_')[-1]} {name}")
    return list(dict.fromkeys(found))


def _hash_without_key(view: View, _secrets: Sequence[str]) -> Iterator[str]:
    names = {**HMAC_OF_LENGTH, MD5_BYTES: "md5"}
    for place in places(view, lengths=tuple(names)):
        name = names[len(place.digest)]
        if hashlib.new(name, view.captured.body).digest() == place.digest:
            yield (
                f"The {place.words} is the plain {name.upper()} of the body, made without a secret. "
                "Anybody can make it, so it is no signature."
            )


def _jwt(view: View, secrets: Sequence[str]) -> Iterator[str]:
    ours = [token for _, token, _, _ in signed_jwts(view, secrets)]
    for place, token, name in jwts(view):
        where = next(
            f"{axis.split('_')[-1]} {place[axis]}" for axis in ("header", "body_field", "query") if axis in place
        )
        if token in ours:
            yield (
                f"The {where} holds a JWT that your secret signed, but it says nothing of the body: "
                f"its claims are {', '.join(sorted(claims_of(token) or {}))}. "
                "Ask Senang.io for a claim with the body's SHA-256."
            )
        else:
            needed = "the sender's public key" if name == "RS256" else "the secret that signs it"
            yield (
                f"The {where} holds a JWT ({name}) that none of your secrets signed. "
                f"SENANG_WEBHOOK_SECRETS must be {needed}."
            )


def _password(view: View, secrets: Sequence[str]) -> Iterator[str]:
    if header := password_of(view, secrets):
        yield (
            f"The header {header} is Basic, and your secret is its password. Write user and password into "
            "SENANG_WEBHOOK_SECRETS as user:password."
        )


def _lengths(view: View, secrets: Sequence[str]) -> Iterator[str]:
    has_public_key = any(True for secret in secrets for _ in public_keys(secret))
    for place in places(view):
        length, kind = len(place.digest), ""
        if length in _RSA_LENGTHS:
            kind = f"an RSA signature of {8 * length} bits"
        elif 70 <= length <= 72 and place.digest.startswith(_DER):
            kind = "an ECDSA signature"
        elif length == 64 and place.encoding.startswith("base64"):
            kind = "an Ed25519 signature, or of HMAC-SHA512"
        elif place.algorithm and SIGNATURE_NAME.search(place.name):
            kind = f"HMAC-{place.algorithm.upper()} in {place.encoding}"
        if kind:
            needed = (
                ""
                if has_public_key or place.algorithm in ("sha256", "sha1", "sha384")
                else (
                    " It needs the sender's public key as SENANG_WEBHOOK_SECRETS, and yours is none."
                    if length != 64
                    else ""
                )
            )
            yield f"The {place.words} has the length of {kind}.{needed}"
    for place in places(view, lengths=(MD5_BYTES,)):
        if SIGNATURE_NAME.search(place.name):
            yield f"The {place.words} has the length of MD5, which is broken. Ask Senang.io to sign with HMAC-SHA256."


def _body(view: View, _secrets: Sequence[str]) -> Iterator[str]:
    body, packed = view.captured.body, view.captured.header("content-encoding").lower()
    if view.body_format == "form" and view.payload is not None:
        yield "The body is a form, not JSON: SENANG_SIGNATURE_BODY_FORMAT=form."
    elif body.lstrip()[:1] == b"[":
        yield "The body is a list: each of its items becomes an event."
    if body.startswith(GZIP):
        yield "The body is packed by gzip."
    elif packed == "gzip":
        yield (
            "The headers say gzip, but the body is unpacked. Capture it before a proxy unpacks it: the packed bytes "
            "may be signed."
        )
    if body.startswith((b"{\n", b"{\r\n")):
        yield (
            "The body is written over several lines. Senders seldom do that, so a tool may have made it readable. "
            "Capture the bytes as they came."
        )


def _host(view: View, _secrets: Sequence[str]) -> Iterator[str]:
    forwarded, host = view.captured.header("x-forwarded-host"), urlsplit(view.captured.url).netloc
    if forwarded and forwarded != host:
        yield (
            f"A proxy wrote the host {host} over {forwarded}. A sender that signs our address signs that one: "
            "SENANG_SIGNATURE_URL."
        )


_FACTS: tuple[Callable[[View, Sequence[str]], Iterator[str]], ...] = (
    _hash_without_key, _password, _jwt, _lengths, _body, _host,
)  # fmt: skip
