"""The doctor: it names settings under which `verify()` accepts the delivery, or it claims nothing."""

import base64
import hashlib
import hmac
import json
import random
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from receiver.protocol.captured import Captured
from receiver.protocol.envelope import fields_from
from receiver.protocol.errors import InvalidSignature
from receiver.protocol.schemes import SCHEMES, decode_secret, key_bytes, scheme_from
from receiver.protocol.signatures import sign, verify
from receiver.sandbox.doctor import diagnose
from receiver.sandbox.doctor.reading import NotACapture, read_capture
from receiver.sandbox.doctor.search import search, verified
from receiver.sandbox.doctor.settings import settings_for

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
ADDRESS = "https://partner.example/webhooks/senang"
BODY = {
    "id": "evt_1",
    "type": "payment.success",
    "amount": 12.5,
    "paid": True,
    "data": {"policy": "POL-7", "note": None},
}
PAYLOAD = json.dumps(BODY, indent=2).encode() + b"\n"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ANOTHER = "whsec_dGhlIHNlY3JldCBvZiBhbm90aGVyIHdvcmxk"
NOISE = (("Host", "partner.example"), ("User-Agent", "Senang/1"), ("X-Request-Id", "8f1c2b7d"), ("X-Attempt", "1"))
WORDS = ("Signature", "Hmac", "Digest", "Hash", "Sign", "Auth-Code")


def compose(seed):
    """A delivery signed in a random way by plain hashlib, and its secret: this knows nothing of our own signer."""
    chance = random.Random(seed)
    secret, key = _key(chance)
    algorithm = chance.choice(["sha256", "sha512", "sha1"])
    in_body = chance.random() < 0.15
    moment, joiner = _moment(chance), chance.choice([".", ":", ",", "", "|", "-"])
    headers, parts = list(NOISE), []
    tag, tag_separator = chance.choice([("", ""), ("v1", "="), ("sha", "="), ("s", ":"), ("v2", ",")])
    listed = bool(tag) and tag_separator == "=" and not in_body and chance.random() < 0.5
    if chance.random() < 0.5:
        parts.append(moment)
        if not listed:
            headers.append((f"X-{chance.choice(WORDS)}-Time", moment))
    elif listed:
        listed = False
    if chance.random() < 0.4:
        parts.append("msg5p3a")
        headers.append(("X-Delivery-Id", "msg5p3a"))
    if chance.random() < 0.2 and len(parts) < 2:
        parts.append(chance.choice([ADDRESS, "/webhooks/senang"]))
    fields = in_body or (chance.random() < 0.1 and len(parts) < 2)
    if fields:
        parts = parts[:1]
    body = json.dumps(BODY | ({"meta": {"sign": "SIGNATURE"}} if in_body else {}), separators=(",", ": ")).encode()
    parts.append(_pairs(chance, joiner) if fields else body.decode())
    chance.shuffle(parts)
    if tag and chance.random() < 0.2:
        parts.insert(0, tag)
    text = _encoded(chance, hmac.new(key, joiner.join(parts).encode(), getattr(hashlib, algorithm)).digest())
    entry = f"{tag}{tag_separator}{text}"
    if listed:
        entry = f"t={moment},{entry}"
    if in_body:
        body = body.replace(b"SIGNATURE", entry.encode())
    else:
        headers.insert(chance.randrange(len(headers)), (f"X-Partner-{chance.choice(WORDS)}", entry))
    return Captured(ADDRESS, tuple(headers), body, NOW), secret


def _key(chance):
    key = bytes(chance.randrange(256) for _ in range(32))
    text = chance.choice([key.hex(), base64.b64encode(key).decode(), "s3nAng-" + key.hex()[:30]])
    prefix = chance.choice(["", "", "whsec_", "sk_test_"])
    means = {"text": (prefix + text).encode(), "rest": text.encode()}
    if not text.startswith("s3n"):
        means["decoded"] = key
    return prefix + text, chance.choice(sorted(means.items()))[1]


def _moment(chance):
    seconds = int(NOW.timestamp())
    return chance.choice(
        [str(seconds), str(seconds * 1000 + 7), "2026-11-24T08:00:00Z", "2026-11-24T16:00:00.250+08:00"]
    )


def _pairs(chance, joiner):
    pairs = [("amount", "12.5"), ("data.note", ""), ("data.policy", "POL-7"), ("id", "evt_1"), ("paid", "true")]
    between = chance.choice(["", "=", ":"])
    return chance.choice(["|", "&", ","]).join(f"{k}{between}{v}" for k, v in [*pairs, ("type", "payment.success")])


def _encoded(chance, digest):
    return chance.choice([
        digest.hex(),
        digest.hex().upper(),
        base64.b64encode(digest).decode(),
        base64.urlsafe_b64encode(digest).decode(),
        base64.b64encode(digest).decode().rstrip("="),
        base64.urlsafe_b64encode(digest).decode().rstrip("="),
    ])  # fmt: skip


def prescribed(captured, secret):
    """The scheme and key that the doctor's settings make, read back as the receiver reads its environment."""
    found = search(captured, [secret]).find
    assert found, "nothing was found"
    settings = settings_for(captured, found, secret)
    preset = settings.pop("SENANG_SIGNATURE_SCHEME")
    scheme = scheme_from(preset, {name.removeprefix("SENANG_SIGNATURE_").lower(): v for name, v in settings.items()})
    return scheme, key_bytes(scheme, secret)


def judge(captured, body, scheme, key):
    return verify(body, dict(captured.headers), scheme=scheme, keys=[key], now=NOW, tolerance=timedelta(minutes=5))


def signed(preset="hmac-sha256-hex", body=PAYLOAD, secret=SECRET, moment=NOW, **axes):
    """A delivery signed under a preset with some axes changed."""
    scheme = scheme_from(preset, axes)
    key = decode_secret(scheme.secret_encoding, secret.removeprefix(scheme.secret_prefix))
    sent = sign(body, scheme=scheme, key=key, message_id="msg_1", timestamp=moment)
    return Captured(ADDRESS, (*NOISE, *sent.headers.items()), sent.body, NOW)


TIMED = {"header": "X-Senang-Signature", "content": "{timestamp}:{body}", "timestamp_header": "X-Senang-Time"}


def not_found(seeds):
    """The seeds whose scheme the doctor does not find, or finds in a form that takes a changed body too."""
    wrong = []
    for seed in seeds:
        captured, secret = compose(seed)
        try:
            scheme, key = prescribed(captured, secret)
            judge(captured, captured.body, scheme, key)
        except (AssertionError, InvalidSignature) as error:
            wrong.append((seed, repr(error)))
            continue
        with suppress(InvalidSignature):
            judge(captured, captured.body.replace(b"POL-7", b"POL-8"), scheme, key)
            wrong.append((seed, "a changed body passes"))
    return wrong


def test_a_randomly_composed_scheme_is_found():
    assert not_found(range(0, 300, 10)) == []


@pytest.mark.soak
def test_many_randomly_composed_schemes_are_found():
    assert not_found(seed for seed in range(300) if seed % 10) == []


@pytest.mark.soak
def test_for_a_wrong_secret_nothing_is_claimed():
    wrong = []
    for seed in range(0, 300, 40):
        diagnosis = diagnose(compose(seed)[0], [ANOTHER])
        claims = [name for name in diagnosis.settings if name.startswith("SENANG_SIGNATURE")]
        if diagnosis.verdict != "not_found" or claims:
            wrong.append((seed, diagnosis.verdict, claims))

    assert wrong == []


SMALL = [
    {},
    {"encoding": "base64"},
    {"algorithm": "sha512"},
    {"content": "{timestamp}.{body}", "timestamp_header": "X-Time"},
    {"content": "{field:id}"},
    {"content": "{secret}{field:id}", "algorithm": "hash-sha256"},
]
"""Schemes of deliveries that are so small that a whole search takes a few milliseconds."""


def claimed_for_wrong_secrets(deliveries):
    """How many combinations make the signature of another secret, of 50 for each, and how often `verify()` takes it."""
    chance, hits, accepted = random.Random(18), 0, 0
    for number in range(deliveries):
        body = b'{"id":"evt_%d"}' % number
        scheme = scheme_from("hmac-sha256-hex", SMALL[number % len(SMALL)])
        sent = sign(body, scheme=scheme, key=chance.randbytes(24), message_id="", timestamp=NOW)
        captured = Captured("", tuple(sent.headers.items()), sent.body, NOW)
        wrong = [chance.randbytes(24).hex() for _ in range(50)]
        hits += search(captured, wrong).hits
        accepted += sum(verified(captured, scheme, secret) is not None for secret in wrong)
    return hits, accepted


def test_for_hundreds_of_wrong_secrets_no_signature_is_made():
    assert claimed_for_wrong_secrets(6) == (0, 0)


@pytest.mark.soak
def test_for_ten_thousand_wrong_secrets_no_signature_is_made():
    assert claimed_for_wrong_secrets(200) == (0, 0)


def unsigned(chance):
    """A random request without a signature. Some of its values look like one, or are a hash that needs no secret."""
    body = json.dumps({chance.choice(["id", "token", "checksum"]): chance.randbytes(16).hex(), "n": chance.random()})
    values = [
        lambda: chance.randbytes(chance.choice([8, 16, 20, 32, 64])).hex(),
        lambda: base64.b64encode(chance.randbytes(chance.choice([16, 20, 32, 64, 256]))).decode(),
        lambda: hashlib.new(chance.choice(["sha256", "sha1", "sha512"]), body.encode()).hexdigest(),
        lambda: str(int(NOW.timestamp()) + chance.randrange(9)),
        lambda: f"v1={chance.randbytes(32).hex()}",
        lambda: f"Bearer {jwt(ANOTHER, iss='x')}",
    ]
    names = chance.sample(["X-Request-Id", "X-Trace", "Etag", "X-Signature", "X-Hash", "Authorization", "X-Time"], 2)
    return Captured("", tuple((name, chance.choice(values)()) for name in names), body.encode(), NOW)


def claimed_for_unsigned(requests):
    """The verdicts and settings that say more than what is true of an unsigned request."""
    chance, wrong = random.Random(18), []
    for number in range(requests):
        diagnosis = diagnose(unsigned(chance), [SECRET], seconds=0.002)
        claims = [name for name in diagnosis.settings if name.startswith("SENANG_SIGNATURE")]
        if diagnosis.verdict not in ("unsigned", "not_found") or claims:
            wrong.append((number, diagnosis.verdict, claims))
    return wrong


def test_for_requests_without_a_signature_nothing_is_claimed():
    assert claimed_for_unsigned(60) == []


@pytest.mark.soak
def test_for_two_thousand_requests_without_a_signature_nothing_is_claimed():
    assert claimed_for_unsigned(2_000) == []


@pytest.mark.parametrize("preset", SCHEMES)
def test_a_preset_is_named_as_such(preset):
    diagnosis = diagnose(signed(preset), [SECRET])

    assert diagnosis.settings["SENANG_SIGNATURE_SCHEME"] == preset
    assert not any(name.startswith("SENANG_SIGNATURE_") and name[17:] != "SCHEME" for name in diagnosis.settings)


def test_the_secret_that_matched_is_told_by_its_number():
    diagnosis = diagnose(signed(), [ANOTHER, SECRET])

    assert any("secret number 2" in warning for warning in diagnosis.warnings)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda body: body.rstrip(b"\n"), "lost the newline"),
        (lambda body: body.replace(b"\n", b"\r\n"), "line ends"),
        (lambda body: b"\xef\xbb\xbf" + body, "byte order mark"),
        (lambda body: b" " + body, "parsed and written anew"),
        (lambda body: json.dumps(json.loads(body)).encode(), "parsed and written anew"),
    ],
)
def test_a_body_that_was_changed_on_its_way_is_proven(damage, sentence):
    sent = signed(**TIMED)

    diagnosis = diagnose(replace(sent, body=damage(sent.body)), [SECRET])

    assert (diagnosis.verdict, sentence in diagnosis.summary) == ("proven_cause", True)
    assert diagnosis.settings["SENANG_SIGNATURE_HEADER"] == "X-Senang-Signature"


@pytest.mark.parametrize("written", [SECRET + " ", f'"{SECRET}"', SECRET + "\n"])
def test_a_secret_with_white_space_or_quotes_around_it_is_proven(written):
    diagnosis = diagnose(signed(**TIMED), [written])

    assert (diagnosis.verdict, "SENANG_WEBHOOK_SECRETS has" in diagnosis.summary) == ("proven_cause", True)


def test_the_secret_of_the_other_environment_is_proven():
    diagnosis = diagnose(signed(**TIMED), [ANOTHER], others=[SECRET])

    assert "other environment" in diagnosis.summary


def test_a_clock_that_is_off_is_proven_beside_the_settings():
    diagnosis = diagnose(signed(moment=NOW - timedelta(hours=8), **TIMED), [SECRET])

    assert diagnosis.verdict == "found"
    assert any("28800 s behind" in warning for warning in diagnosis.warnings)


def test_a_delivery_without_any_signature_is_named_as_such_with_what_to_ask():
    diagnosis = diagnose(Captured(ADDRESS, NOISE, PAYLOAD), [SECRET])

    assert diagnosis.verdict == "unsigned"
    assert "customercare@senang.io" in diagnosis.mail


def test_the_payloads_fields_are_guessed_with_a_reason_each():
    payload = {
        "event": {"id": "evt_1", "name": "policy.issued", "created_at": "2026-11-24T08:00:00Z"},
        "policy": {"number": "POL-7", "status": "active"},
        "object": {"premium": 12},
    }

    diagnosis = diagnose(signed(body=json.dumps(payload).encode()), [SECRET])

    setting = fields_from(diagnosis.settings["SENANG_PAYLOAD_FIELDS"])
    assert [setting[name] for name in ("event_id", "event_type", "timestamp", "policy_id", "status", "data")] == [
        "event.id", "event.name", "event.created_at", "policy.number", "policy.status", "object",
    ]  # fmt: skip
    assert any("`policy.number` (likely): the number of `policy`" in reason for reason in diagnosis.reasons)


def test_fields_that_nothing_resembles_are_asked_for():
    diagnosis = diagnose(signed(body=b'{"a": 1}'), [SECRET])

    for asked in ("the ID of the event", "the type of the event", "the moment of the event"):
        assert asked in diagnosis.mail


def test_no_diagnosis_holds_the_secret():
    sent = signed(**TIMED)

    for secrets, verdict in (([SECRET], "found"), ([SECRET + " "], "proven_cause"), ([ANOTHER], "not_found")):
        diagnosis = diagnose(sent, secrets, seconds=0.3)
        text = json.dumps(diagnosis.as_dict())
        assert diagnosis.verdict == verdict
        assert SECRET not in text
        assert ANOTHER not in text


@pytest.mark.parametrize("separator", [":", "=", ","])
def test_settings_with_special_characters_survive_the_env_file(tmp_path, separator):
    axes = {"header": "X-Sign", "timestamp_header": "X-Time", "tag": "v8", "tag_separator": separator}
    captured = signed(content="{timestamp}\n{body}", **axes)
    diagnosis = diagnose(captured, [SECRET])
    (tmp_path / ".env").write_text("\n".join(diagnosis.env_lines()))

    assert dotenv_values(tmp_path / ".env") == diagnosis.settings


CURL = b"curl 'https://partner.example/webhooks/senang' "
HEAD = b"POST /webhooks/senang HTTP/1.1\r\nHost: partner.example\r\nX-Sign: abc\r\nContent-Length: 9\r\n\r\n"
HTTP = HEAD + b'{"a": 1}\n'
SENT = '{"a": 1}\n'
HAR = {"url": ADDRESS, "headers": [{"name": "X-Sign", "value": "abc"}], "postData": {"text": SENT}}
WEBHOOK_SITE = {"method": "POST", "url": ADDRESS, "headers": {"x-sign": ["abc"]}, "content": SENT}


@pytest.mark.parametrize(
    "text",
    [
        HTTP,
        HTTP + b"\n",  # as an editor leaves it
        HTTP.replace(b"\r\n", b"\n"),
        b"curl -X POST https://partner.example/webhooks/senang -H 'X-Sign: abc' --data-raw $'{\"a\": 1}\\n'",
        CURL + b"\\\n  --header 'X-Sign: abc' \\\n  --data-binary '{\"a\": 1}\n'",
        b"curl -sSXPOST -H'X-Sign: abc' -m 5 -A Us/1 https://partner.example/webhooks/senang -d$'{\"a\": 1}\\n'",
        json.dumps({"log": {"entries": [{"request": HAR}]}}).encode(),
        json.dumps({"data": [WEBHOOK_SITE]}).encode(),
        json.dumps({"requests": [{"request": {"raw": base64.b64encode(HTTP).decode()}}]}).encode(),
        b'curl --url https://partner.example/webhooks/senang -H "X-Sign: abc" --data-raw=\'{"a": 1}\n\' --compressed',
    ],
)
def test_a_raw_request_a_curl_command_and_an_export_are_read_to_the_byte(text):
    captured = read_capture(text)

    assert captured.url == "https://partner.example/webhooks/senang"
    assert (captured.header("x-sign"), captured.body) == ("abc", b'{"a": 1}\n')


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (b"", "neither"),
        (b"hello", "neither"),
        (b"curl 'https://x", "quote"),
        (b"curl https://x -H 'a: b'", "no body"),
        (b"curl https://x -d @file.json", "another file"),
        (b"POST / HTTP/1.1\r\nHost: x\r\n", "empty line"),
        (b"GET /?a=1 HTTP/1.1\r\nHost: x\r\n\r\n", "it is a GET"),
        (b'{"id": "evt_1"}', "no HAR file"),
        (b"curl -F a=1 https://x", "multipart"),
        (b"\xff\xfe", "neither"),
    ],
)
def test_what_is_no_capture_is_refused_with_what_is_missing(text, missing):
    with pytest.raises(NotACapture, match=missing):
        read_capture(text)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_a_file_holds_only_the_typed_error_comes_out(text):
    for prefix in (b"", b"POST / HTTP/1.1\n", b"curl -d "):
        with suppress(NotACapture):
            diagnose(read_capture(prefix + text), [SECRET])


def full_of_hashes(number):
    """A body of which many values look like a signature."""
    return json.dumps({f"h{index:04}": hashlib.sha256(b"%d" % index).hexdigest() for index in range(number)}).encode()


def test_a_body_full_of_what_looks_like_a_signature_takes_no_longer_than_it_may():
    captured = Captured(ADDRESS, NOISE, full_of_hashes(1500))

    begun = time.process_time()
    diagnosis = diagnose(captured, [SECRET], seconds=0.5)

    assert time.process_time() - begun < 10  # it was 34 s
    assert any("Not every combination" in warning for warning in diagnosis.warnings)
    assert any("likeliest" in warning for warning in diagnosis.warnings)
    assert len(str(diagnosis.reasons)) < 1500


def test_the_work_for_values_that_look_like_a_signature_is_bounded():
    tried = [
        search(Captured(ADDRESS, NOISE, full_of_hashes(count)), [SECRET], simple=True).tried for count in (100, 200)
    ]

    assert tried[0] == tried[1]  # the likeliest are looked at, however many there are


def test_a_search_among_many_values_that_look_like_a_signature_ends_and_says_that_it_is_not_over():
    found = diagnose(Captured(ADDRESS, NOISE, full_of_hashes(100)), [SECRET], seconds=0.2)

    assert [warning for warning in found.warnings if "Not every combination was tried" in warning]


def test_a_signature_is_found_among_a_thousand_values_that_look_like_one():
    fields = json.loads(full_of_hashes(1000))
    content = "&".join(f"{name}={value}" for name, value in sorted(fields.items())).encode()
    fields["signature"] = hmac.new(SECRET.encode(), content, "sha256").hexdigest()

    diagnosis = diagnose(Captured(ADDRESS, NOISE, json.dumps(fields).encode()), [SECRET])

    assert (diagnosis.verdict, diagnosis.settings["SENANG_SIGNATURE_BODY_FIELD"]) == ("found", "signature")


def with_headers(body=PAYLOAD, **headers):
    """A delivery that is not signed as any scheme says."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Captured(ADDRESS, (*NOISE, *named), body, NOW)


def jwt(key, **claims):
    """A JWT of these claims, made by hand."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, claims)]
    signed_part = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    made = hmac.digest(key.encode(), signed_part, "sha256")
    return (signed_part + b"." + base64.urlsafe_b64encode(made).rstrip(b"=")).decode()


PROVABLE = [
    (with_headers(X_Sign=hmac.new(SECRET.encode(), PAYLOAD, "md5").hexdigest()), "is MD5, made with your secret"),
    (with_headers(X_Digest=hashlib.sha256(PAYLOAD).hexdigest()), "made without a secret"),
    (with_headers(Authorization=f"Bearer {jwt(ANOTHER, iss='x')}"), "a JWT (HS256) that none of your secrets signed"),
    (with_headers(Authorization=f"Bearer {jwt(SECRET, iss='x')}"), "but it says nothing of the body"),
    (with_headers(X_Sign=base64.b64encode(bytes(range(256))).decode()), "an RSA signature of 2048 bits"),
    (with_headers(Authorization="Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()), "user:password"),
    (with_headers(X_Api_Key="another-token"), "No scheme and secret"),
    (with_headers(X_Sign="ab" * 32, X_Forwarded_Host="us.example"), "wrote the host partner.example over us.example"),
]


def test_what_is_certain_is_said_when_nothing_fits():
    wrong = []
    for captured, sentence in PROVABLE:
        diagnosis = diagnose(captured, [SECRET], seconds=1)
        text = " ".join([diagnosis.summary, *diagnosis.reasons])
        if sentence not in text or any("SCHEME" in name for name in diagnosis.settings):
            wrong.append((sentence, text))

    assert wrong == []


def test_chunks_in_a_file_are_undone():
    sent = signed(**TIMED)
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(sent.body), sent.body)

    assert "frames of a chunked transfer" in diagnose(replace(sent, body=framed), [SECRET]).summary


def test_a_large_delivery_with_tracing_headers_takes_no_longer_than_it_may():
    traces = {f"X_B3_Trace_{number}": f"{number:032x}" for number in range(15)}
    large = json.dumps({f"field{number}": "x" * 90 for number in range(3000)}).encode()

    begun = time.process_time()
    diagnosis = diagnose(with_headers(large, X_Sign="ab" * 32, **traces), [SECRET], seconds=0.5)

    assert time.process_time() - begun < 10
    assert any("Not every combination" in warning for warning in diagnosis.warnings)


def test_the_strongest_of_several_signatures_is_named():
    sha1 = hmac.new(SECRET.encode(), PAYLOAD, "sha1").hexdigest()
    sha256 = hmac.new(SECRET.encode(), PAYLOAD, "sha256").hexdigest()

    diagnosis = diagnose(with_headers(X_Sign_1=sha1, X_Sign_2=sha256, X_Token=SECRET), [SECRET])

    assert diagnosis.settings["SENANG_SIGNATURE_HEADER"] == "X-Sign-2"


@pytest.mark.parametrize(("escape", "text"), [("percent", "Tan%20%26%20Sons"), ("form", "Tan+%26+Sons")])
def test_fields_that_the_sender_escaped_are_found(escape, text):
    made = hmac.new(SECRET.encode(), f"id=evt_1&note={text}".encode(), "sha256").hexdigest()

    captured = with_headers(b'{"note": "Tan & Sons", "id": "evt_1"}', X_Sign=made)

    assert diagnose(captured, [SECRET]).settings["SENANG_SIGNATURE_FIELD_ESCAPE"] == escape


def test_what_a_found_scheme_leaves_unsigned_is_named():
    sent = signed(content="{field:id}|{field:type}")

    weak = diagnose(sent, [SECRET]).weak

    assert "Not signed in this delivery: amount, paid, data.policy, data.note." in weak
    assert [text for text in weak if text.endswith("unless SENANG_ACCEPTED_WEAKNESSES names partial.")]


def test_an_id_that_two_events_share_is_never_the_events():
    bodies = [json.dumps({"id": "sub_1", "type": "a.b", "time": 1795828867 + n, "data": {}}).encode() for n in (1, 2)]
    first, second = (signed(body=body) for body in bodies)

    setting = diagnose(first, [SECRET], captures=[second]).settings["SENANG_PAYLOAD_FIELDS"]

    assert "event_id={id}:{type}:{time}" in setting
