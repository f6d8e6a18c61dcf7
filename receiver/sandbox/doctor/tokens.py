"""Signatures that are read and not made: a JWT, and the secret itself as a token.

A JWT must say what it signs: the event is in it, or a claim has the body's digest. Else it is no signature of the body.
"""

import base64
import hmac
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from receiver.protocol.content import content_pieces
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.proofs import is_right
from receiver.protocol.schemes import BODY_DIGESTS, SignatureScheme
from receiver.protocol.tokens import Token, claims_of, parse_token
from receiver.sandbox.doctor.keys import Key, keys, public_keys
from receiver.sandbox.doctor.places import texts
from receiver.sandbox.doctor.view import View

LEAST_TOKEN = 4
"""A shorter text can stand in a delivery by chance."""
_WORDS = ("Bearer", "Token", "Basic", "HMAC", "JWT", "Key", "ApiKey", "Secret")


class Read(NamedTuple):
    """What a scheme must say about the place, and the key that fits."""

    axes: dict[str, str]
    secret_index: int
    key: Key


def jwts(view: View) -> Iterator[tuple[dict[str, str], Token, str]]:
    """Every JWT of the delivery: where it stands, and its algorithm."""
    for place, text in _worded(view):
        for name in ("HS256", "RS256"):
            if token := parse_token(text.encode(errors="surrogatepass"), name):
                yield place, token, name


def signed_jwts(view: View, secrets: Sequence[str]) -> Iterator[tuple[dict[str, str], Token, int, Key]]:
    """The JWTs that one of the secrets signed."""
    for place, token, name in jwts(view):
        for index, secret in enumerate(secrets):
            found = keys(secret) if name == "HS256" else [k for k in public_keys(secret) if k.algorithm == "jwt-rs256"]
            for key in found:
                if name == "RS256" and is_right("rsa-sha256", key.key, token.signature, token.signed):
                    yield place | {"algorithm": "jwt-rs256"}, token, index, key
                elif name == "HS256" and hmac.digest(key.key, token.signed, "sha256") == token.signature:
                    yield place | {"algorithm": "jwt-hs256"}, token, index, key


def jwt_readings(view: View, secrets: Sequence[str]) -> Iterator[Read]:
    """How a scheme says what a JWT signs."""
    for place, token, index, key in signed_jwts(view, secrets):
        claims = claims_of(token) or {}
        stamp = {"timestamp_tag": "iat"} if isinstance(claims.get("iat"), int) else {}
        for name, value in claims.items():
            if isinstance(value, str) and (content := _digest_in(view, value)):
                yield Read(place | stamp | {"claim": name, "content": content}, index, key)
        if "body_field" in place:
            yield Read(place | stamp | {"content": "{claims}"}, index, key)


def tokens(view: View, secrets: Sequence[str]) -> Iterator[Read]:
    """Where the delivery holds the secret itself."""
    for place, text in _worded(view):
        for index, secret in enumerate(secrets):
            if len(secret.strip()) < LEAST_TOKEN:
                continue
            whole = Key("", "utf-8", secret.encode())
            if text == secret:
                yield Read(place | {"algorithm": "token", "encoding": "plain"}, index, whole)
            elif text == base64.b64encode(secret.encode()).decode():
                yield Read(place | {"algorithm": "token", "encoding": "base64"}, index, whole)


def password_of(view: View, secrets: Sequence[str]) -> str:
    """The header whose Basic password is one of the secrets, or nothing."""
    for place, text in _worded(view):
        if place.get("tag") == "Basic":
            with suppress(ValueError):
                _, _, password = base64.b64decode(text, validate=True).decode(errors="replace").partition(":")
                if password in secrets:
                    return place.get("header", "")
    return ""


def _worded(view: View) -> Iterator[tuple[dict[str, str], str]]:
    """Every text that may be a token, whole and behind its scheme word."""
    for axis, name, value in texts(view):
        yield {axis: name}, value
        word, space, rest = value.partition(" ")
        if space and word.lower() in {known.lower() for known in _WORDS}:
            yield {axis: name, "tag": word, "tag_separator": " "}, rest.strip()


def _digest_in(view: View, value: str) -> str:
    for name in BODY_DIGESTS:
        scheme = SignatureScheme(name="", header="X", content=f"{{{name}}}")
        with suppress(UnusablePayload):
            pieces: list[Any] = content_pieces(scheme, view.delivered(""))
            if pieces[0].decode() == value:
                return scheme.content
    return ""
