"""Why no scheme fits: the usual causes, the most frequent first, and the causes that can be proven.

A cause is proven when the signature is right after the suspected damage is undone. To add one, write a function that
yields what the secret or the body may have been, with a sentence that says what happened to it.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from receiver.protocol.captured import Captured
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.json_body import parse_object
from receiver.sandbox.doctor.search import Find, search

USUAL = (
    "The secret is another one: of the other environment (§8.3), of another endpoint, or an older one.",
    "The body was changed on its way: a proxy or framework parsed it and wrote it anew, or cut its last newline.",
    "The signature covers something that is not in the request, or is made with a key pair (Ed25519, RSA).",
)
REWRITTEN = "The body was parsed and written anew on its way to us: nothing in front of us may change it."


@dataclass(frozen=True, repr=False)
class Proof:
    """A proven cause: with this delivery and this secret, the find is right."""

    sentence: str
    captured: Captured
    secret: str
    find: Find


def prove(captured: Captured, secrets: Sequence[str], others: Sequence[str], *, until: float) -> Proof | None:
    """The first cause that makes the signature right. `others` are secrets of other environments."""
    for sentence, candidates in ((_OTHER, others), *_damaged_secrets(secrets)):
        if candidates and (find := search(captured, candidates, until=until, simple=candidates is not others).find):
            return Proof(sentence, captured, candidates[find.secret_index], find)
    for sentence, body in _original_bodies(captured.body):
        if time.monotonic() > until:
            return None
        original = replace(captured, body=body)
        if find := search(original, secrets, until=until, simple=True).find:
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
    with suppress(UnusablePayload):
        parse_object(body)  # strictly; what is written again below has floats, as its sender's has
        for text in _serialisations(json.loads(body)):
            if text != body:
                yield REWRITTEN, text


def _serialisations(payload: dict[str, Any]) -> Iterator[bytes]:
    """The usual ways to write the same object."""
    for sort_keys in (False, True):
        for ensure_ascii in (False, True):
            for options in ({"separators": (",", ":")}, {}, {"indent": 2}, {"indent": 4}):
                text = json.dumps(payload, sort_keys=sort_keys, ensure_ascii=ensure_ascii, **options)
                written = text.encode(errors="surrogatepass")
                yield from (written, written + b"\n", written.replace(b"/", b"\\/"))
