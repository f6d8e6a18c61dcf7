"""Why no scheme fits: the usual causes, the most frequent first, and the causes that can be proven.

A cause is proven when the signature is right after the suspected damage is undone. To add one, write a function that
yields what the secret or the body may have been, with a sentence that says what happened to it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from receiver.protocol.captured import Captured
from receiver.protocol.documents import GZIP, unpacked
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.json_body import parse_object
from receiver.sandbox.doctor.budget import Budget
from receiver.sandbox.doctor.envelopes import MOST_BYTES
from receiver.sandbox.doctor.search import Find, search

_UNKNOWN = (
    "It is a scheme that the doctor doesn't know: it may sign a text that is not in the request, such as an "
    "application key or your partner code, or only some of the fields. If you have such a text, give it to the doctor: "
    "on the page of the capture, or with --text."
)
_OTHER_KEY = "The secret is another one: of the other environment (§8.3), of another endpoint, or an older one."
_CHANGED = "The body was changed on its way: a proxy or framework parsed it and wrote it anew, or cut its last newline."
REWRITTEN = "The body was parsed and written anew on its way to us: nothing in front of us may change it."


def usual_causes(captured: Captured, others: Sequence[str]) -> list[str]:
    """The causes that are left, the likeliest first.

    A body that has the length of its header was hardly changed. Secrets of another environment that don't fit are ruled
    out.
    """
    is_whole = captured.header("content-length") == str(len(captured.body))
    found = [_OTHER_KEY] if not others else []
    if is_whole:
        return [_UNKNOWN, *found]
    return [*found, _CHANGED, _UNKNOWN]


@dataclass(frozen=True, repr=False)
class Proof:
    """A proven cause: with this delivery and this secret, the find is right."""

    sentence: str
    captured: Captured
    secret: str
    find: Find


def prove(captured: Captured, secrets: Sequence[str], others: Sequence[str], *, budget: Budget) -> Proof | None:
    """The first cause that makes the signature right. `others` are secrets of other environments."""
    for sentence, candidates in ((_OTHER, others), *_damaged_secrets(secrets)):
        if candidates and (find := search(captured, candidates, budget=budget, simple=candidates is not others).find):
            return Proof(sentence, captured, candidates[find.secret_index], find)
    for sentence, body in _original_bodies(captured.body):
        if budget.is_spent:
            return None
        original = replace(captured, body=body)
        if find := search(original, secrets, budget=budget, simple=True).find:
            return Proof(sentence, original, secrets[find.secret_index], find)
    return None


_OTHER = "It is signed with the secret of the other environment, not with this one's (§8.3)."


def _damaged_secrets(secrets: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    stripped = [secret.strip() for secret in secrets]
    yield "SENANG_WEBHOOK_SECRETS has white space around the secret.", _new(stripped, secrets)
    yield "SENANG_WEBHOOK_SECRETS has quotes around the secret.", _new([s.strip("\"'") for s in stripped], secrets)
    ends = ("\n", " ", "\r\n")
    yield (
        "The sender signs with white space behind its secret. It has it wrong, or its secret really ends so.",
        [secret + end for secret in stripped for end in ends],
    )


def _new(changed: Sequence[str], secrets: Sequence[str]) -> list[str]:
    return [secret for secret in changed if secret and secret not in secrets]


def _original_bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    """What the body may have been when it was signed."""
    for end in (b"\n", b"\r\n"):
        yield "The body lost the newline at its end on the way to us.", body + end
    if body.strip() != body:
        yield "The body got white space around it on the way to us, or into this file.", body.strip()
    if b"\n" in body:
        yield (
            "The body's line ends were changed on the way to us.",
            body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
        )
    if b"\r\n" in body:
        yield "The body's line ends were changed on the way to us.", body.replace(b"\r\n", b"\n")
    if body.startswith(b"\xef\xbb\xbf"):
        yield "The body got a byte order mark on the way to us.", body[3:]
    if (whole := _without_chunks(body)) is not None:
        yield "The file has the frames of a chunked transfer in its body: a proxy or tool kept them.", whole
    if body.startswith(GZIP):
        with suppress(UnusablePayload):
            yield "The sender signs the body before it packs it by gzip.", unpacked(body, MOST_BYTES)
    with suppress(UnusablePayload):
        parse_object(body)  # strictly; what is written again below has floats, as its sender's has
        for text in _serialisations(json.loads(body)):
            if text != body:
                yield REWRITTEN, text


def _without_chunks(body: bytes) -> bytes | None:
    """The body without the lengths of HTTP's chunks (RFC 9112 §7.1). None when it has none."""
    found: list[bytes] = []
    rest = body
    while match := _CHUNK.match(rest):
        size, start = int(match[1], 16), match.end()
        if not size:
            return b"".join(found) or None
        found.append(rest[start : start + size])
        rest = rest[start + size :].lstrip(b"\r\n")
    return None


_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})\r?\n")


def _serialisations(payload: dict[str, Any]) -> Iterator[bytes]:
    """The usual ways to write the same object."""
    for sort_keys in (False, True):
        for ensure_ascii in (False, True):
            for options in ({"separators": (",", ":")}, {}, {"indent": 2}, {"indent": 4}):
                text = json.dumps(payload, sort_keys=sort_keys, ensure_ascii=ensure_ascii, **options)
                written = text.encode(errors="surrogatepass")
                yield from (written, written + b"\n", written.replace(b"/", b"\\/"))
