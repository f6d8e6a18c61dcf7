"""Finds the scheme under which the signature of a captured delivery is right: likely schemes first, strong before weak.

A find counts only if our own `verify()` accepts the delivery with it, and refuses it with one byte changed where the
scheme signs the whole body. The search looks at one candidate after the other and stops when its budget is spent.
`LEVELS` is the order.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.protocol.captured import Captured
from receiver.protocol.errors import InvalidScheme, InvalidSignature, UnusableSecret
from receiver.protocol.proofs import digest as made_by
from receiver.protocol.proofs import is_right, public_key_bytes
from receiver.protocol.schemes import TOKEN, SignatureScheme, check, decode_secret
from receiver.protocol.signatures import Verified, verify
from receiver.sandbox.doctor.budget import ENDLESS, Budget
from receiver.sandbox.doctor.contents import (
    Candidate,
    addressed_bodies,
    bodies,
    bodies_with_texts,
    digests,
    hashed_bodies,
    joined_bodies,
    whole_fields,
)
from receiver.sandbox.doctor.keys import DERIVED, Key, keys, public_keys
from receiver.sandbox.doctor.places import Place, places
from receiver.sandbox.doctor.sequences import in_any_order, in_order, listed, neighbours, recipes
from receiver.sandbox.doctor.tokens import Read, jwt_readings, tokens
from receiver.sandbox.doctor.view import View

Level = Callable[[View, Place], Iterator[Candidate]]
SIMPLE: tuple[Level, ...] = (bodies,)
LEVELS: tuple[Level, ...] = (
    bodies, bodies_with_texts, addressed_bodies, digests, recipes, listed, neighbours, hashed_bodies, joined_bodies,
    whole_fields, in_order, in_any_order,
)  # fmt: skip
_LEVELS_OF_DERIVED_KEYS: tuple[Level, ...] = (bodies,)
_FOREVER = timedelta(days=36500)
_EDWARDS = 64


@dataclass(frozen=True, repr=False)
class Find:
    """A scheme under which the delivery is authentic."""

    scheme: SignatureScheme
    secret_index: int
    key: bytes
    digest: bytes
    timestamp: datetime | None
    body: bytes  # what the signature vouches for


@dataclass
class Search:
    """What was found, how many combinations were tried, and how many of them made a signature of the delivery."""

    find: Find | None = None
    tried: int = 0
    hits: int = 0
    complete: bool = True


@dataclass(frozen=True, repr=False)
class _Keys:
    """The keys to try, with the number of the secret that each is made from."""

    symmetric: list[tuple[int, Key]]
    public: list[tuple[int, Key]]


def search(
    captured: Captured,
    secrets: Sequence[str],
    *,
    texts: Sequence[str] = (),
    budget: Budget = ENDLESS,
    simple: bool = False,
) -> Search:
    """Try every scheme with every secret. With `simple`, try only schemes over the body's bytes, timestamp and ID.

    Secrets that `live` would refuse are tried too. `texts` are in no part of the request, and may be signed.
    """
    view, result = View(captured, texts), Search()
    known = _Keys(
        [(index, key) for index, secret in enumerate(secrets) for key in keys(secret)],
        [(index, key) for index, secret in enumerate(secrets) for key in public_keys(secret)],
    )
    for attempt in (_jwts, _levels_of(SIMPLE if simple else LEVELS), _derived):
        result.find = attempt(view, secrets, known, result, budget)
        if result.find:
            return result
    if not simple:
        result.find = _read(view, secrets, tokens(view, secrets))
    return result


def _jwts(view: View, secrets: Sequence[str], known: _Keys, result: Search, budget: Budget) -> Find | None:
    return _read(view, secrets, jwt_readings(view, secrets))


def _read(view: View, secrets: Sequence[str], readings: Iterator[Read]) -> Find | None:
    for reading in readings:
        scheme = _scheme({**reading.axes}, reading.key)
        if found := _confirmed(view.captured, scheme, reading.key, reading.secret_index, secrets, b""):
            return found
    return None


def _levels_of(levels: Sequence[Level]) -> Callable[..., Find | None]:
    def attempt(view: View, secrets: Sequence[str], known: _Keys, result: Search, budget: Budget) -> Find | None:
        return _tried(view, secrets, known, levels, result, budget)

    return attempt


def _derived(view: View, secrets: Sequence[str], _known: _Keys, result: Search, budget: Budget) -> Find | None:
    """Keys that are a hash of the secret."""
    derived = [(index, key) for index, secret in enumerate(secrets) for key in keys(secret, DERIVED)]
    return _tried(view, secrets, _Keys(derived, []), _LEVELS_OF_DERIVED_KEYS, result, budget)


def _tried(
    view: View, secrets: Sequence[str], known: _Keys, levels: Sequence[Level], result: Search, budget: Budget
) -> Find | None:
    found = places(view)
    for level in levels:
        failed = set[int]()
        for place in found:
            for candidate in level(view, place):
                mark = hash((place.digest, candidate.pieces))  # the bytes themselves would fill the memory
                matches = [] if mark in failed else list(_matches(place, candidate, known, result))
                result.hits += len(matches)
                for algorithm, index, key in matches:
                    scheme = _scheme({**_axes(place), **candidate.axes(), "algorithm": algorithm}, key)
                    if find := _confirmed(view.captured, scheme, key, index, secrets, place.digest):
                        return find
                if not matches:
                    failed.add(mark)
                if budget.is_spent:
                    result.complete = False
                    return None
    return None


def _matches(place: Place, candidate: Candidate, known: _Keys, result: Search) -> Iterator[tuple[str, int, Key]]:
    """The algorithms and keys under which the candidate gives the digest of the place."""
    pieces, algorithm, digest = candidate.pieces, place.algorithm, place.digest
    has_secret = None in pieces
    content = b"" if has_secret else b"".join(pieces)  # type: ignore[arg-type]
    if algorithm:
        for index, key in known.symmetric:
            result.tried += 1
            if has_secret:
                content = b"".join([key.key if piece is None else piece for piece in pieces])
                if hashlib.new(algorithm, content).digest() == digest:
                    yield f"hash-{algorithm}", index, key
            if made_by(algorithm, key.key, content) == digest:
                yield algorithm, index, key
    if not has_secret:
        for index, key in known.public:
            if _can_be(key.algorithm, len(digest)):
                result.tried += 1
                if is_right(key.algorithm, key.key, digest, content):
                    yield key.algorithm, index, key


def _can_be(algorithm: str, length: int) -> bool:
    """Whether a signature of this algorithm can have this length."""
    if algorithm == "ed25519":
        return length == _EDWARDS
    return length in (64, 70, 71, 72) if algorithm.startswith("ecdsa") else algorithm in _RSA and length >= 256


_RSA = ("rsa-sha256", "rsa-sha512", "rsa-pss-sha256")


def _axes(place: Place) -> dict[str, str]:
    return {
        place.axis: place.name,
        "entry_separator": place.entry_separator,
        "tag": place.tag,
        "tag_separator": place.tag_separator,
        "encoding": place.encoding,
    }


def _scheme(axes: dict[str, Any], key: Key) -> SignatureScheme:
    return SignatureScheme(name="found", secret_prefix=key.prefix, secret_encoding=key.encoding, **axes)


def _confirmed(
    captured: Captured, scheme: SignatureScheme, key: Key, index: int, secrets: Sequence[str], digest: bytes
) -> Find | None:
    """The find, if `verify()` confirms it: it checks more than the digest."""
    found = verified(captured, scheme, secrets[index])
    if found is None:
        return None
    signs_bytes = "body" in scheme.part_names and scheme.algorithm != TOKEN
    if signs_bytes and verified(replace(captured, body=_changed(captured.body)), scheme, secrets[index]):
        return None
    return Find(scheme, index, key.key, digest, found.timestamp, found.body)


def verified(
    captured: Captured, scheme: SignatureScheme, secret: str, *, now: datetime | None = None
) -> Verified | None:
    """What `verify()` says about the delivery. Without `now`, its age is ignored."""
    try:
        scheme = check(scheme)
        key = key_of(scheme, secret)
        return verify(
            captured.body, View(captured).headers, scheme=scheme, keys=[key], now=now or datetime.now(UTC),
            tolerance=timedelta(minutes=5) if now else _FOREVER,
        )  # fmt: skip
    except (InvalidSignature, InvalidScheme, UnusableSecret):
        return None


def key_of(scheme: SignatureScheme, secret: str) -> bytes:
    """The key of the secret, even one that `live` would refuse. Raises UnusableSecret."""
    made = decode_secret(scheme.secret_encoding, secret.removeprefix(scheme.secret_prefix))
    if scheme.has_public_key or scheme.algorithm == "jwt-rs256":
        return public_key_bytes(scheme.algorithm, made)
    return made


def _changed(body: bytes) -> bytes:
    """The body with one byte in the middle changed. No signature over it may still be right."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :] if body else b"x"
