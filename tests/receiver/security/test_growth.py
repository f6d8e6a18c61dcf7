"""What a stranger or a sender can make long costs no more than its length: time and memory grow as the input does.

To add a case, add a line to `CASES`: a name, what makes an input of so many bytes, and what is done with it. Costs of
two sizes are measured side by side and compared, so a busy machine changes nothing: a linear cost grows with the
input, a quadratic one with its square.
"""

import base64
import gc
import gzip
import json
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import pytest

from receiver.protocol.documents import documents
from receiver.protocol.errors import InvalidSignature, UnusablePayload
from receiver.protocol.forms import parse_form
from receiver.protocol.json_body import parse_object, same_value, without_paths
from receiver.protocol.moments import NoMoment, read_moment
from receiver.protocol.schemes import SCHEMES, scheme_from
from receiver.protocol.signatures import verify

KIB = 1024
STEPS = ((1 * KIB, 16 * KIB), (16 * KIB, 256 * KIB))
MORE_THAN_LINEAR = 4
"""Growth by so many times as much as the input's counts as more than linear. A quadratic cost grows by 16 times as
much in each step."""
TRIES = 5
ENOUGH_SECONDS = 0.001
WEIGHED = (16 * KIB, 64 * KIB)
BYTES_PER_BYTE = 64
"""Memory that a byte of input may take while it is looked at, and what any input may take besides."""
BYTES_BESIDES = 2 * KIB * KIB


class Case(NamedTuple):
    """One thing that reads what others send."""

    make: Callable[[int], Any]  # an input of so many bytes
    run: Callable[[Any], object]


FIELDS = {"content": "{fields}", "value_separator": "=", "field_separator": "&"}
OVER_FIELDS = scheme_from("hmac-sha256-hex", FIELDS)
IN_BODY = scheme_from("hmac-sha256-hex", FIELDS | {"header": "none", "body_field": "meta.sign"})
STANDARD = SCHEMES["standard-webhooks"]
STRIPE = SCHEMES["stripe"]
KEYS = [b"0123456789abcdef", b"fedcba9876543210"]
NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)


def judged(scheme, body, **headers):
    """What a stranger's delivery costs: nothing of it is authentic."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with suppress(InvalidSignature):
        verify(body, sent, scheme=scheme, keys=KEYS, now=NOW, tolerance=timedelta(minutes=5))


def read(body, **options):
    with suppress(UnusablePayload):
        return parse_object(body, **options)
    return None


def moment(text):
    with suppress(NoMoment):
        read_moment(text)


def filled(start, piece, end=b""):
    """A maker of bodies: the start, the piece again and again, the end."""
    return lambda size: start + piece * max(1, (size - len(start) - len(end)) // len(piece)) + end


def nested(opening, closing, levels=60):
    """Levels of keys that are as long as they can be, and many values at the bottom."""
    return lambda size: (
        b'{"a":' + (opening % (b"k" * (size // 2 // levels))) * levels + b"[" + b"0," * (size // 4) + b"0]"
        + closing * levels + b"}"
    )  # fmt: skip


def signed_inside(make):
    return lambda size: b'{"meta":{"sign":"00"},' + make(size)[1:]


BODIES = {
    "values below a long key": lambda size: b'{"%s":[%s0]}' % (b"k" * (size // 2), b"0," * (size // 4)),
    "empty objects below a long key": lambda size: b'{"%s":[%s{}]}' % (b"k" * (size // 2), b"{}," * (size // 6)),
    "long keys above each other": nested(b'{"%s":', b"}"),
    "brackets only": filled(b"", b"["),
    "brackets that close": lambda size: b'{"a":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}",
    "objects only": filled(b"", b'{"a":'),
    "empty lists": filled(b'{"a":[[]', b",[]", b"]}"),
    "digits": filled(b'{"a":[0', b",0", b"]}"),
    "numbers": filled(b'{"a":[12', b",12", b"]}"),
    "one long number": filled(b'{"a":1', b"0", b"}"),
    "one long fraction": filled(b'{"a":0.', b"0", b"1}"),
    "quotes": filled(b"", b'"'),
    "empty texts": filled(b'{"a":[""', b',""', b"]}"),
    "escaped quotes": filled(b'{"a":"', b'\\"'),
    "escapes and commas": filled(b'{"a":"', b'\\",'),
    "the same key": filled(b'{"a":1', b',"a":1', b"}"),
    "spaces": filled(b"", b" "),
    "text with commas": filled(b'{"a":"', b"word, ", b'"}'),
    "names": lambda size: json.dumps({f"n{number}": None for number in range(size // 14)}).encode(),
    "paths": lambda size: json.dumps({"a": [{"b": [{"c": number}]} for number in range(size // 24)]}).encode(),
}
TEXTS = {
    "digits": lambda size: "1" * size,
    "commas": lambda size: "," * size,
    "entries": lambda size: "v1,a " * (size // 5),
    "tags": lambda size: "t=1,v1=a," * (size // 9),
    "zone": lambda size: "2026-11-24T08:00:00" + "+08:00" * (size // 6),
    "spaces": lambda size: " " * size,
}

FORMS = {
    "many keys": lambda size: b"&".join(b"k%d=1" % number for number in range(size // 8)),
    "one key again and again": filled(b"a=1", b"&a=1"),
    "items": filled(b"a[]=1", b"&a[]=1"),
    "brackets": filled(b"a", b"[b]", b"=1"),
    "open brackets": filled(b"a", b"[", b"=1"),
    "dots": filled(b"a", b".a", b"=1"),
    "ampersands": filled(b"", b"&"),
    "escapes": filled(b"a=", b"%41"),
    "broken escapes": filled(b"a=", b"%"),
    "nested keys": lambda size: b"&".join(b"a[b%d][c][d]=1" % number for number in range(size // 14)),
}
HEAD = base64.urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=")
TOKENS = {
    "dots": filled(b"", b"."),
    "letters": filled(HEAD + b".", b"e30", b".AAAA"),
    "a long head": lambda size: (
        base64.urlsafe_b64encode(b'{"a":"%s"}' % (b"x" * (size // 2))).rstrip(b"=") + b".e30.AA"
    ),
    "a deep head": lambda size: base64.urlsafe_b64encode(b"[" * (size // 2)).rstrip(b"=") + b".e30.AA",
    "a long signature": filled(HEAD + b".e30.", b"A"),
}
LISTS = {
    "empty objects": filled(b"[{}", b",{}", b"]"),
    "empty lists": filled(b"[[]", b",[]", b"]"),
    "brackets": filled(b"", b"["),
    "packed spaces": lambda size: gzip.compress(b" " * (100 * size)),
    "packed brackets": lambda size: gzip.compress(b"[" * (100 * size)),
    "packed again": lambda size: gzip.compress(gzip.compress(b" " * (100 * size))),
}
IN_A_FORM = scheme_from("hmac-sha256-hex", FIELDS | {"body_format": "form"})
BY_QUERY = scheme_from("hmac-sha256-hex", {"content": "{query:a}.{body}"})
CHOSEN = scheme_from("hmac-sha256-hex", {"content": "{field:a}|{field:b.c}|{field:a.0.b}"})
BEARER = {"header": "Authorization", "tag": "Bearer", "tag_separator": "space", "encoding": "plain"}
JWT = scheme_from("hmac-sha256-hex", BEARER | {"algorithm": "jwt-hs256", "content": "{claims}"})
STATIC = scheme_from("hmac-sha256-hex", BEARER | {"algorithm": "token"})
BY_KEY = scheme_from("hmac-sha256-hex", {"algorithm": "rsa-sha256", "encoding": "base64"})


def a_form(body):
    with suppress(UnusablePayload):
        parse_form(body)


def split(body):
    with suppress(UnusablePayload):
        documents(body, body_format="json", events="", most_bytes=KIB * KIB, is_packed=True)


CASES = {
    **{f"fields of {name}": Case(make, partial(judged, OVER_FIELDS, x_signature="0" * 64))
       for name, make in BODIES.items()},
    **{f"a signature in {name}": Case(signed_inside(make), partial(judged, IN_BODY)) for name, make in BODIES.items()},
    **{f"an object of {name}": Case(make, read) for name, make in BODIES.items()},
    **{f"an object of {name}, numbers as written": Case(make, partial(read, literal_numbers=True))
       for name, make in BODIES.items()},
    **{f"signatures of {name}": Case(make, lambda text: judged(
        STANDARD, b"{}", webhook_signature=text, webhook_id="msg_1", webhook_timestamp="1795507200"))
       for name, make in TEXTS.items()},
    **{f"a list of {name} with a timestamp": Case(make, lambda text: judged(STRIPE, b"{}", stripe_signature=text))
       for name, make in TEXTS.items()},
    **{f"a message ID of {name}": Case(make, lambda text: judged(
        STANDARD, b"{}", webhook_signature="v1,a", webhook_id=text, webhook_timestamp="1795507200"))
       for name, make in TEXTS.items()},
    **{f"a timestamp of {name}": Case(make, lambda text: judged(
        STANDARD, b"{}", webhook_signature="v1,a", webhook_id="msg_1", webhook_timestamp=text))
       for name, make in TEXTS.items()},
    **{f"a moment of {name}": Case(make, moment) for name, make in TEXTS.items()},
    **{f"a form of {name}": Case(make, a_form) for name, make in FORMS.items()},
    **{f"signed fields in a form of {name}": Case(make, partial(judged, IN_A_FORM, x_signature="0" * 64))
       for name, make in FORMS.items()},
    **{f"a query of {name}": Case(make, lambda text: judged(
        BY_QUERY, b"{}", **{"x_signature": "0" * 64, ":query": text.decode()})) for name, make in FORMS.items()},
    **{f"chosen fields of {name}": Case(make, partial(judged, CHOSEN, x_signature="0" * 64))
       for name, make in BODIES.items()},
    **{f"a token of {name}": Case(make, lambda text: judged(JWT, b"{}", authorization=f"Bearer {text.decode()}"))
       for name, make in TOKENS.items()},
    **{f"a secret in Authorization of {name}": Case(make, lambda text: judged(
        STATIC, b"{}", authorization=f"Bearer {text}")) for name, make in TEXTS.items()},
    **{f"a signature by public key of {name}": Case(make, lambda text: judged(BY_KEY, b"{}", x_signature=text))
       for name, make in TEXTS.items()},
    **{f"events in {name}": Case(make, split) for name, make in LISTS.items()},
    "two bodies compared": Case(BODIES["paths"], lambda body: same_value(read(body), read(body))),
    "a body without its changing fields": Case(
        BODIES["paths"], lambda body: without_paths(read(body), ["a.b.c", "a.b.d", "e"])
    ),
}  # fmt: skip


def seconds(case, size):
    """CPU time of one run, of so many that it can be told from nothing."""
    made, times = case.make(size), 1
    gc.disable()  # when it runs depends on what else is in memory
    try:
        while True:
            started = time.process_time()
            for _ in range(times):
                case.run(made)
            if (took := time.process_time() - started) > ENOUGH_SECONDS:
                return took / times
            times *= 8
    finally:
        gc.enable()


def peak(case, size):
    """The most bytes that are in use at once."""
    made = case.make(size)
    tracemalloc.start()
    try:
        case.run(made)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def grows_faster(case):
    """Whether its cost grows faster than the input in any step. The best of a few tries counts: others run beside us.

    The next step is only done where the one before was well: it could take all memory.
    """
    return not all(
        any(seconds(case, large) / seconds(case, small) <= MORE_THAN_LINEAR * large / small for _ in range(TRIES))
        for small, large in STEPS
    )


@pytest.mark.soak
def test_nothing_takes_more_than_linear_time():
    found = [name for name, case in CASES.items() if grows_faster(case)]

    assert found == []


@pytest.mark.soak
def test_nothing_takes_more_memory_than_a_small_multiple_of_its_size():
    found = {
        (name, size): f"{most:,}"
        for name, case in CASES.items()
        for size in WEIGHED
        if (most := peak(case, size)) > BYTES_PER_BYTE * size + BYTES_BESIDES
    }

    assert found == {}
