"""Payloads at rest open for their own row and their own key only."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.privacy.sealing import CannotUnseal, UnusableKey, body_digest, digest_matches, parse_keys, seal, unseal

OLD = "8f1c2b7d4e5a69780123456789abcdef0fedcba98765432113579bdf02468ace"
NEW = "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY="
KEYS = parse_keys(f"{NEW},{OLD}")


@given(st.binary())
def test_what_was_sealed_opens_again(plaintext):
    row = uuid4()

    assert unseal(seal(plaintext, row=row, keys=KEYS), row=row, keys=KEYS) == plaintext


def test_a_payload_sealed_under_the_older_key_still_opens_after_a_rotation():
    row = uuid4()
    sealed = seal(b"x", row=row, keys=KEYS[1:])

    assert unseal(sealed, row=row, keys=KEYS) == b"x"


def test_a_payload_does_not_open_for_another_row():
    sealed = seal(b"x", row=uuid4(), keys=KEYS)

    with pytest.raises(CannotUnseal, match="tampered"):
        unseal(sealed, row=uuid4(), keys=KEYS)


def test_every_changed_byte_is_refused():
    row = uuid4()
    sealed = seal(b"payload", row=row, keys=KEYS)

    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(CannotUnseal):
            unseal(bytes(changed), row=row, keys=KEYS)


def test_a_key_does_not_show_itself():
    assert OLD not in repr(KEYS)
    assert KEYS[0].secret.hex() not in repr(KEYS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("zz", "malformed"),
        ("YWJj", "wrong_length"),
        (f"{OLD},{OLD}", "repeated"),
        ("00" * 32, "placeholder"),
    ],
)
def test_a_key_that_must_not_be_used_is_refused_without_being_quoted(text, reason):
    with pytest.raises(UnusableKey) as caught:
        parse_keys(text)

    assert str(caught.value) == reason


def test_a_digest_tells_bodies_apart_until_its_key_is_gone():
    digest = body_digest(b"body", KEYS)

    assert digest_matches(digest, b"body", KEYS) is True
    assert digest_matches(digest, b"other", KEYS) is False
    assert digest_matches(digest, b"body", KEYS[1:]) is None
