"""The one verify(): published vectors, independent signers, and everything a stranger may try."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from receiver.protocol.errors import InvalidScheme, InvalidSignature, StaleTimestamp, UnusablePayload, UnusableSecret
from receiver.protocol.schemes import ENCODINGS, SCHEMES, key_bytes, scheme_from
from receiver.protocol.signatures import sign, verify

STANDARD = SCHEMES["standard-webhooks"]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = key_bytes(STANDARD, SECRET)
NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)


def check(body, headers, scheme=STANDARD, keys=(KEY,), now=NOW):
    return verify(body, headers, scheme=scheme, keys=keys, now=now, tolerance=timedelta(seconds=300))


def signed(body=b"{}", scheme=STANDARD, key=KEY, message_id="msg_1", timestamp=NOW):
    return sign(body, scheme=scheme, key=key, message_id=message_id, timestamp=timestamp).headers


def test_the_published_standard_webhooks_vector_verifies():
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }

    verified = check(b'{"test": 2432232314}', headers, now=datetime.fromtimestamp(1614265330, UTC))

    assert verified.message_id == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_the_published_github_vector_verifies():
    headers = {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}

    verified = check(b"Hello, World!", headers, SCHEMES["github"], keys=[b"It's a Secret to Everybody"])

    assert verified.key_index == 0


def test_what_the_standard_webhooks_package_signs_verifies():
    signature = Webhook(SECRET).sign("msg_1", NOW, '{"a": 1}')
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(NOW.timestamp())),
        "Webhook-Signature": signature,
    }

    assert check(b'{"a": 1}', headers).message_id == "msg_1"


def test_what_we_sign_verifies_in_the_standard_webhooks_package():
    now = datetime.now(UTC)
    headers = signed(b'{"a": 1}', timestamp=now)

    assert Webhook(SECRET).verify('{"a": 1}', headers) == {"a": 1}


@pytest.mark.parametrize(
    ("preset", "headers"),
    [
        ("stripe", lambda k, t, b: {"Stripe-Signature": f"t={t},v1={hexmac(k, f'{t}.'.encode() + b)},v0=00"}),
        ("github", lambda k, t, b: {"X-Hub-Signature-256": f"sha256={hexmac(k, b)}"}),
        ("shopify", lambda k, t, b: {"X-Shopify-Hmac-Sha256": base64.b64encode(mac(k, b)).decode()}),
        (
            "slack",
            lambda k, t, b: {
                "X-Slack-Request-Timestamp": str(t),
                "X-Slack-Signature": f"v0={hexmac(k, f'v0:{t}:'.encode() + b)}",
            },
        ),
        ("razorpay", lambda k, t, b: {"X-Razorpay-Signature": hexmac(k, b)}),
        ("hmac-sha256-hex", lambda k, t, b: {"X-Signature": hexmac(k, b)}),
    ],
)
def test_an_independent_signer_of_each_preset_verifies(preset, headers):
    key, body, stamp = b"0123456789abcdef0123456789abcdef", b'{"n":1}', int(NOW.timestamp())

    assert check(body, headers(key, stamp, body), SCHEMES[preset], keys=[key]).key_index == 0


def mac(key, content):
    return hmac.new(key, content, hashlib.sha256).digest()


def hexmac(key, content):
    return mac(key, content).hex()


@given(
    preset=st.sampled_from(sorted(SCHEMES)),
    body=st.binary(max_size=200),
    position=st.integers(0),
    bit=st.integers(0, 7),
)
def test_one_changed_bit_of_the_body_is_always_refused(preset, body, position, bit):
    scheme = SCHEMES[preset]
    changed = bytearray(body or b"x")
    changed[position % len(changed)] ^= 1 << bit
    headers = signed(body or b"x", scheme)

    check(body or b"x", headers, scheme)

    with pytest.raises(InvalidSignature, match="wrong_signature"):
        check(bytes(changed), headers, scheme)


@given(
    preset=st.sampled_from(sorted(SCHEMES)),
    body=st.binary(max_size=100),
    values=st.lists(st.text(max_size=60), min_size=3, max_size=3),
)
def test_whatever_headers_come_only_the_typed_error_comes_out(preset, body, values):
    scheme = SCHEMES[preset]
    names = (scheme.header, scheme.id_header or "x", scheme.timestamp_header or "y")

    with pytest.raises(InvalidSignature):
        check(body, dict(zip(names, values, strict=True)), scheme)


@given(
    encoding=st.sampled_from(ENCODINGS),
    algorithm=st.sampled_from(["sha1", "sha256", "sha512"]),
    form=st.sampled_from(["seconds", "milliseconds", "rfc3339"]),
    content=st.sampled_from(["{timestamp}.{body}", "{body}{timestamp}", "{timestamp}:{body}:end"]),
    body=st.binary(max_size=100),
)
def test_a_scheme_composed_of_any_axes_makes_the_round_trip(encoding, algorithm, form, content, body):
    axes = {"encoding": encoding, "algorithm": algorithm, "timestamp_format": form, "content": content}
    scheme = scheme_from("hmac-sha256-hex", axes | {"timestamp_header": "X-Time"})

    assert check(body, signed(body, scheme), scheme).timestamp == NOW


def without_bars(text):
    return text.replace("|", "")


FIELDS = {"header": "none", "body_field": "meta.sign", "content": "{fields}"}


def test_sorted_fields_signed_by_an_independent_signer_verify():
    body = b'{"b": {"z": true, "y": null}, "a": 12.50, "list": ["x", 2], "meta": {"sign": "SIGN"}}'
    signature = hexmac(KEY, b"a12.50|b.y|b.ztrue|list.0x|list.12")

    assert check(body.replace(b"SIGN", signature.encode()), {}, scheme_from("hmac-sha256-hex", FIELDS)).key_index == 0


NAMES = st.from_regex(r"[a-z][a-z0-9_$ ]{0,8}", fullmatch=True)
VALUES = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text().map(without_bars)


@given(separator=st.sampled_from(["none", "=", ":"]), body=st.dictionaries(NAMES, VALUES))
def test_a_signature_inside_the_body_makes_the_round_trip(separator, body):
    scheme = scheme_from("hmac-sha256-hex", FIELDS | {"value_separator": separator})

    sent = sign(json.dumps(body).encode(), scheme=scheme, key=KEY, message_id="", timestamp=NOW)

    assert check(sent.body, sent.headers, scheme).key_index == 0


@given(
    body=st.binary(max_size=100) | st.dictionaries(st.text(), st.text()).map(lambda value: json.dumps(value).encode())
)
def test_whatever_body_comes_a_scheme_that_reads_it_raises_only_the_typed_error(body):
    with pytest.raises(InvalidSignature):
        check(body, {}, scheme_from("hmac-sha256-hex", FIELDS))


@pytest.mark.parametrize("number", ["12.50", "1e5", "1E-400", "9" * 40])
def test_a_number_is_sent_as_it_was_signed(number):
    scheme = scheme_from("hmac-sha256-hex", FIELDS)

    sent = sign(f'{{"a": {number}}}'.encode(), scheme=scheme, key=KEY, message_id="", timestamp=NOW)

    assert json.loads(check(sent.body, sent.headers, scheme).body) == {"a": number}


def test_a_signature_that_has_no_place_in_the_body_is_refused_when_signing():
    scheme = scheme_from("hmac-sha256-hex", FIELDS)

    with pytest.raises(UnusablePayload):
        sign(b'{"meta": "text"}', scheme=scheme, key=KEY, message_id="", timestamp=NOW)


def test_our_own_address_can_be_a_part_of_what_is_signed():
    axes = {"content": "{url}{body}", "url": "https://partner.example/webhooks/senang"}
    headers = {"x-signature": hexmac(KEY, b"https://partner.example/webhooks/senang{}")}

    assert check(b"{}", headers, scheme_from("hmac-sha256-hex", axes)).key_index == 0


@pytest.mark.parametrize("seconds", [-300, 300])
def test_a_timestamp_exactly_at_the_tolerance_is_accepted(seconds):
    assert check(b"{}", signed(timestamp=NOW + timedelta(seconds=seconds)))


@pytest.mark.parametrize(("seconds", "reason"), [(-301, "timestamp_too_old"), (301, "timestamp_too_new")])
def test_a_timestamp_outside_the_tolerance_is_stale_either_way(seconds, reason):
    headers = signed(timestamp=NOW + timedelta(seconds=seconds))

    with pytest.raises(StaleTimestamp, match=reason):
        check(b"{}", headers)


def test_a_wrong_signature_with_an_old_timestamp_is_not_called_stale():
    headers = signed(b"other", timestamp=NOW - timedelta(days=1))

    with pytest.raises(InvalidSignature) as caught:
        check(b"{}", headers)

    assert not isinstance(caught.value, StaleTimestamp)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"webhook-signature": ""}, "missing_signature"),
        ({"webhook-signature": "v2,abc"}, "malformed_signature"),
        ({"webhook-signature": "v1,é"}, "malformed_signature"),
        ({"webhook-signature": " ".join(["v1,a"] * 17)}, "too_many_signatures"),
        ({"webhook-id": ""}, "missing_id"),
        ({"webhook-id": "msg.1"}, "malformed_id"),
        ({"webhook-timestamp": ""}, "missing_timestamp"),
        ({"webhook-timestamp": "0123"}, "malformed_timestamp"),
        ({"webhook-timestamp": "+123"}, "malformed_timestamp"),
        ({"webhook-timestamp": "١٢٣"}, "malformed_timestamp"),
        ({"webhook-timestamp": "1" * 13}, "malformed_timestamp"),
    ],
)
def test_each_way_to_be_wrong_has_its_reason(change, reason):
    with pytest.raises(InvalidSignature) as caught:
        check(b"{}", signed() | change)

    assert caught.value.reason == reason


def test_a_foreign_entry_beside_a_valid_one_does_no_harm():
    headers = signed()
    headers["webhook-signature"] = f"v9,!! v1a,AAAA v1,short {headers['webhook-signature']} "

    assert check(b"{}", headers)


def test_a_second_spelling_of_the_right_signature_is_refused():
    headers = signed()
    headers["webhook-signature"] = headers["webhook-signature"].rstrip("=")

    with pytest.raises(InvalidSignature, match="wrong_signature"):
        check(b"{}", headers)


def test_during_a_rotation_the_older_secret_still_matches():
    newer = b"n" * 12 + b"0123456789ab"

    assert check(b"{}", signed(), keys=(newer, KEY)).key_index == 1


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("whsec_c2hvcnQ=", "too_short"),
        ("whsec_not base64!", "malformed"),
        ("whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "public_key"),
        ("whsec_changeme", "placeholder"),
        ("whsec_" + "A" * 40, "placeholder"),
        (SECRET + "\n", "surrounded_by_white_space"),
    ],
)
def test_a_secret_that_must_not_be_used_is_refused_without_being_quoted(secret, reason):
    with pytest.raises(UnusableSecret) as caught:
        key_bytes(STANDARD, secret)

    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("axes", "field"),
    [
        ({"algorithm": "md5"}, "algorithm"),
        ({"content": "{timestamp}"}, "content"),
        ({"content": "{body}"}, "id_header"),
        ({"content": "{id}{body}", "timestamp_header": "x-time"}, "content"),
        ({"content": "{id}.{timestamp}.{body}{fields}"}, "content"),
        ({"content": "{id}.{timestamp}.{body}.{url}"}, "url"),
        ({"body_field": "sign"}, "header"),
        ({"body_field": "sign", "header": "none"}, "content"),
        ({"header": "no header"}, "header"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_scheme_that_makes_no_sense_is_refused_by_the_name_of_its_axis(axes, field):
    with pytest.raises(InvalidScheme) as caught:
        scheme_from("standard-webhooks", axes)

    assert caught.value.field == field
