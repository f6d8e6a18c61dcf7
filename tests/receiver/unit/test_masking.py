"""What people and logs may see (§9.3)."""

import json
from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.privacy.card_data import drop_authentication_data
from receiver.privacy.detectors import DETECTORS, suspects
from receiver.privacy.masking import hidden_values, mask_payload, mask_text, masking_self_test

SECRETS = [
    "900101-14-5678",
    "siti.nurhaliza@example.com",
    "4111 1111 1111 1111",
    "5555555555554444",
    "+60 12-345 6789",
    "012-3456789",
    "203.0.113.7",
    "2001:db8:0:1::7",
    "Bearer abcdef0123456789",
    "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "password=hunter2hunter2",
]
WORDS = st.text(alphabet="abc XYZ.,äß", max_size=12)
secrets = st.sampled_from(SECRETS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def test_only_known_safe_keys_pass():
    masked = mask_payload({"status": "paid", "amount": 120, "holder_name": "Siti", "age": 36, "vip": True, "x": None})

    assert masked == {
        "status": "paid",
        "amount": 120,
        "holder_name": "[text 4]",
        "age": "[number 2]",
        "vip": "[boolean]",
        "x": None,
    }


def test_a_reference_number_that_looks_like_a_card_is_hidden():
    assert mask_payload({"transaction_id": "4111111111111111"}) == {"transaction_id": "[card]"}


def test_a_reference_under_a_path_of_the_partners_mapping_passes():
    assert mask_payload({"meta": {"key": "abc"}}, references=["meta.key"]) == {"meta": {"key": "abc"}}


def test_a_person_under_a_reference_key_does_not_pass():
    assert mask_payload({"policy_id": "900101-14-5678"}) == {"policy_id": "[nric]"}


def test_two_keys_masked_to_the_same_text_keep_both_entries():
    masked = mask_payload({"a@example.com": 1, "b@example.com": 2})

    assert list(masked) == ["[e-mail]", "[e-mail] 2"]


@pytest.mark.parametrize("secret", SECRETS)
def test_each_kind_of_secret_is_masked_in_free_text(secret):
    assert secret not in mask_text(f"the handler said {secret} and stopped")


def test_an_error_text_may_not_quote_what_masking_hides_of_the_payload():
    hidden = hidden_values({"status": "paid", "holder": {"name": "Siti", "nicks": ["Ct"], "income": 12345, "age": 36}})

    assert hidden == {"Siti", "12345"}
    assert mask_text("paid by Siti, 36, earning 12345", hidden=hidden) == "paid by [text 4], 36, earning [text 5]"


def test_full_width_digits_and_invisible_characters_do_not_hide_a_card():
    masked = mask_text("card ４１１１１１１１１１１１１１１１ and 4111\u200b111111111111")

    assert masked == "card [card] and [card]"


def test_digits_behind_a_card_do_not_hide_it():
    assert mask_text("4111 1111 1111 1111 12/26") == "[card] 12/26"


def test_every_detector_finds_its_own_sample():
    assert masking_self_test() == []


@pytest.mark.soak
@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.samples[0])
@settings(max_examples=25)
@given(st.data())
def test_no_find_goes_without_the_hint_that_makes_one_look(detector, data):
    text = data.draw(st.from_regex(detector.pattern) | st.sampled_from(detector.samples))

    assert detector.mask(text) == text or detector in suspects(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_is_no_secret(moment):
    assert mask_text(moment.isoformat()) == moment.isoformat()


@given(st.lists(st.sampled_from(["data", "note", "status", "type", "amount"]), min_size=1, max_size=5), secrets, WORDS)
def test_no_planted_secret_survives_under_any_key(path, secret, words):
    value = f"{words} {secret} {words}"
    for key in reversed(path):
        value = {key: [value, {secret: 1}]}

    assert secret not in json.dumps(mask_payload(value))


@given(JSON)
def test_masking_never_raises_and_is_idempotent(value):
    once = mask_payload(value)

    assert mask_payload(once) == once


@given(st.text() | st.lists(WORDS | secrets).map(" ".join))
def test_masking_text_never_raises_and_is_idempotent(text):
    once = mask_text(text)

    assert mask_text(once) == once


def test_card_authentication_data_is_dropped_at_any_depth():
    payload = {"card": {"CVV2": "123", "last4": "1111", "items": [{"pin_block": "x"}, "%B4111111111111111^A/B^2512"]}}

    assert drop_authentication_data(payload) == ({"card": {"last4": "1111", "items": [{}, None]}}, True)


def test_a_payload_without_card_authentication_data_is_left_alone():
    assert drop_authentication_data({"a": [1]}) == ({"a": [1]}, False)
