"""What a scheme leaves open: each weakness has a code, the axis to change, and a sentence for people.

The live environment refuses what `is_refused`, unless SENANG_ACCEPTED_WEAKNESSES names its code. The start, the pages
and the doctor say `Weakness.text`. To know another weakness: a function in `_CHECKS`, or in `_CHECKS_OF_PLACES` if it
depends on where the fields of the event stand.

    ambiguous        two bodies can have one signature
    plain_hash       a hash over secret and fields, no HMAC
    static_token     the secret itself is sent, and nothing is signed
    partial          fields of the body are not signed
    unsigned_id      the event ID is not signed
    unsigned_header  a field of the envelope comes from a header that is not signed
    sha1             outdated, but not broken in HMAC (not refused)
    no_timestamp     an old delivery can be sent again (not refused)
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from receiver.protocol.content import LOOSE
from receiver.protocol.envelope import is_verified
from receiver.protocol.errors import InvalidScheme
from receiver.protocol.places import place_of
from receiver.protocol.schemes import PLAIN_HASHES, TOKEN, SignatureScheme

CODES = ("ambiguous", "plain_hash", "static_token", "partial", "unsigned_id", "unsigned_header", "sha1", "no_timestamp")
_IN_NAMES = re.compile(r"[A-Za-z0-9_.-]+")
_FORGEABLE = "Two bodies can have one signature. Ask Senang.io for a signature over {body}."


class Weakness(NamedTuple):
    """What is weak, with the axis of the scheme. The sentence never quotes the value of a setting."""

    code: str
    axis: str
    sentence: str
    is_refused: bool = True

    @property
    def text(self) -> str:
        """What the start, the pages and the doctor say: the setting, what is weak, and what `live` does with it."""
        said = f"SENANG_SIGNATURE_{self.axis.upper()}: {self.sentence}"
        if not self.is_refused:
            return said
        return f"{said} It is refused in the live environment, unless SENANG_ACCEPTED_WEAKNESSES names {self.code}."


def weaknesses(scheme: SignatureScheme, mapping: Mapping[str, str]) -> tuple[Weakness, ...]:
    """All that is weak about this scheme, and about the places of the envelope's fields under it."""
    about_places = (found for check in _CHECKS_OF_PLACES for found in check(scheme, mapping))
    return (*(found for check in _CHECKS for found in check(scheme)), *about_places)


def accepted_from(text: str) -> frozenset[str]:
    """The codes of a setting such as `static_token,partial`. Raises InvalidScheme."""
    codes = frozenset(filter(None, (part.strip() for part in text.split(","))))
    if codes - set(CODES):
        raise InvalidScheme("accepted_weaknesses", f"knows {', '.join(CODES)} only")
    return codes


def _token(scheme: SignatureScheme) -> Iterator[Weakness]:
    if scheme.algorithm == TOKEN:
        yield Weakness(
            "static_token",
            "algorithm",
            "is a token: each delivery holds the secret, and nothing of the body is authenticated. Ask the sender for "
            "an HMAC over {body}.",
        )


def _plain_hash(scheme: SignatureScheme) -> Iterator[Weakness]:
    if scheme.algorithm in PLAIN_HASHES:
        yield Weakness(
            "plain_hash",
            "algorithm",
            "is a plain hash: whoever sees one delivery may be able to lengthen it (length extension). Ask the sender "
            "for HMAC.",
        )


def _fields(scheme: SignatureScheme) -> Iterator[Weakness]:
    if not scheme.signs_fields:
        return
    if scheme.field_form == "value":
        yield Weakness("ambiguous", "field_form", f"leaves the names of the fields out. {_FORGEABLE}")
        return
    for axis, between in (("value_separator", "a field's name and its value"), ("field_separator", "two fields")):
        separator = getattr(scheme, axis)
        if not separator:
            yield Weakness("ambiguous", axis, f"is empty, so nothing shows where to part {between}. {_FORGEABLE}")
        elif _IN_NAMES.fullmatch(separator):
            yield Weakness("ambiguous", axis, f"can be a part of names and numbers. {_FORGEABLE}")
    if scheme.field_separator and scheme.field_separator in scheme.value_separator:
        yield Weakness("ambiguous", "value_separator", f"holds the field separator. {_FORGEABLE}")


_CLOSED = frozenset({"", "url", "method", "path", "secret"})
"""Parts that are the same for all deliveries. They keep their neighbours apart only where they are a text."""


def _glued(scheme: SignatureScheme) -> Iterator[Weakness]:
    """Two parts side by side with nothing between. A timestamp beside `{body}` may: JSON begins with a brace."""
    names = [name for name, _ in scheme.content_parts]
    for one, other in pairwise(names):
        if {one, other} & _CLOSED or {one, other} == {"id", "timestamp"} or {one, other} == {"timestamp", "body"}:
            continue
        if {one, other} & {"id", "fields", *LOOSE} or one == other:
            yield Weakness("ambiguous", "content", f"has nothing between two of its parts. {_FORGEABLE}")
            return
    for place, (name, text) in enumerate(scheme.content_parts):
        beside = {names[place - 1] if place else "", names[place + 1] if place + 1 < len(names) else ""}
        if not name and _IN_NAMES.fullmatch(text) and beside & set(LOOSE) and 0 < place < len(names) - 1:
            yield Weakness("ambiguous", "content", f"has only letters between two of its parts. {_FORGEABLE}")
            return


def _sha1(scheme: SignatureScheme) -> Iterator[Weakness]:
    if scheme.algorithm.endswith("sha1"):
        yield Weakness("sha1", "algorithm", "is SHA-1, which is outdated. Ask for SHA-256.", is_refused=False)


def _no_timestamp(scheme: SignatureScheme) -> Iterator[Weakness]:
    if not scheme.signs_timestamp:
        yield Weakness(
            "no_timestamp",
            "content",
            "signs no timestamp, so an old delivery can be sent again. Duplicates are still told by event ID.",
            is_refused=False,
        )


def unsigned_fields(scheme: SignatureScheme, mapping: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the envelope's fields that come from what is not signed."""
    return tuple(
        name for name, text in mapping.items() if not is_verified(text, scheme.coverage, scheme.signed_headers)
    )


def _partial(scheme: SignatureScheme, mapping: Mapping[str, str]) -> Iterator[Weakness]:
    if scheme.coverage is None or scheme.algorithm == TOKEN:
        return
    axis = "fields_without" if scheme.skipped_fields else "fields_of" if scheme.fields_of else "content"
    sentence = (
        "leaves a part of the body unsigned. Whoever sees a delivery can change that part. Handlers see it in "
        "`event.unverified`."
    )
    in_body = [name for name in unsigned_fields(scheme, mapping) if place_of(mapping[name]).paths]
    more = f" These fields of the event are in that part: {', '.join(in_body)}." if in_body else ""
    yield Weakness("partial", axis, sentence + more)


def _unsigned_id(scheme: SignatureScheme, mapping: Mapping[str, str]) -> Iterator[Weakness]:
    if "event_id" in unsigned_fields(scheme, mapping):
        sentence = "does not sign the event ID. Whoever sees a delivery can send it again as a new event."
        yield Weakness("unsigned_id", "content", sentence)


def _unsigned_header(scheme: SignatureScheme, mapping: Mapping[str, str]) -> Iterator[Weakness]:
    found = [name for name, text in mapping.items() if set(place_of(text).headers) - scheme.signed_headers]
    if found:
        sentence = (
            f"does not sign the header from which these fields of the event come: {', '.join(found)}. Whoever sees a "
            "delivery can change it."
        )
        yield Weakness("unsigned_header", "content", sentence)


_CHECKS: tuple[Callable[[SignatureScheme], Iterator[Weakness]], ...] = (
    _token, _plain_hash, _fields, _glued, _sha1, _no_timestamp,
)  # fmt: skip
_CHECKS_OF_PLACES: tuple[Callable[[SignatureScheme, Mapping[str, str]], Iterator[Weakness]], ...] = (
    _partial, _unsigned_id, _unsigned_header,
)  # fmt: skip
