"""What may be shown because of how it looks (§9.3)."""

import pytest

from receiver.privacy.grammar import is_identifier_key, is_moment, is_number, is_reference
from receiver.privacy.plain import plain


def words(text):
    return text.split()


REFERENCES = words(
    """
    evt_1 TXN-1 TXN-2026-000123 TXN_204518 POL-1234 CLM-7781 R-1 R001 E42 E404 51 00 AM04 ERR404 MYR MY paid PAID
    Approved PaymentSuccess paymentSucceeded in_progress insufficient_funds payment.success claim.updated MOTOR-COMP
    TRAVEL-SEA PA-BASIC v2.1 1.0.3 2026-000123 INV/2026/11/0042 20261128000123 123456789012345678 order:123:456
    01ARZ3NDEKTSV4RRFFQ69G5FAV 550e8400-e29b-41d4-a716-446655440000 evt_4f8e2c1a9b7d4e6f8a0b1c2d3e4f5a6b
    pay_8ZkQ2mNq4LxT cus_Jk39dkLLs2mzqA ch_3MmlLrLkdIwHu7ix0snN0B15 WH-2W42680HY-8M0 sha256:9f86d081884c7d65
    pi_9oIQGBLuC0Qao1nH1ureUHLS pi_POTKvXKg5RnJ2wRkrnMscNgl tok_1PqLi6F4gwSE6DXgfTERBi6U5
    """
)
NO_REFERENCES = [
    "",
    "Siti",
    "siti.nurhaliza",
    "SITI-NURHALIZA",
    "SitiNurhaliza",
    "Nurhaliza88",
    "TanAhKow12LimBeng",
    "ref_NgAhBeng1TanAhKow",
    "Siti Nurhaliza binti Osman",
    "paid by hand",
    "WXY1234",
    "WXY-1234",
    "W1234A",
    "A12345678",
    "K1234567E",
    "900101145678",
    "900101-14-5678",
    "TXN-900101-14-5678",
    "4111111111111111",
    "TXN-4111111111111111",
    "514012345678",
    "5140-1234-5678",
    "60123456789",
    "0312345678",
    "031234567",
    "siti@example.com",
    "203.0.113.7",
    "https://example.com/x",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "TXN-é",
    "TXN-\u0661",
    "a" * 201,
]
KEYS = words(
    """
    policy_id createdAt X-Request-Id Name CustomerName $ref @type _id a 0 12 sha256 line1 address_2 _links dc:title
    iso8601 data.attributes
    """
)
NO_KEYS = [
    "",
    "Siti",
    "siti_nurhaliza",
    "Siti Nurhaliza binti Osman",
    "siti@example.com",
    "900101-14-5678",
    "900101145678",
    "+60123456789",
    "WXY1234",
    "A12345678",
    "evt_123456",
    "é",
    "a" * 65,
]
DISGUISES = {
    "siti@example.com": [
        "siti%40example.com",
        "siti%2540example.com",
        "siti%25252540example.com",
        "siti&#64;example.com",
        "siti&#x40;example.com",
        "siti&commat;example.com",
        "siti&amp;#64;example.com",
        "siti\\u0040example.com",
        "siti\\\\x40example.com",
        "siti (at) example (dot) com",
        "siti[AT]example.com",
        "siti\uff20example.com",
        "siti@example\u3002com",
        "si\u200bti@example.com",
        "si\x00ti@example.com",
    ],
    "900101-14-5678": [
        "٩٠٠١٠١-١٤-٥٦٧٨",
        "९००१०१-१४-५६७८",
        "９００１０１－１４－５６７８",
        "900101\u201314\u20145678",
        "900101\u221214\u20125678",
        "900101&ndash;14&#8212;5678",
        "9\u20d200101-14-5678",
        "900\u00ad101-14-5678",
        "⑨⓪⓪①⓪①-①④-⑤⑥⑦⑧",
    ],
}


def test_references_codes_and_types_are_told_by_their_look():
    assert [text for text in REFERENCES if not is_reference(text)] == []


def test_what_may_be_personal_is_no_reference():
    assert [text for text in NO_REFERENCES if is_reference(text)] == []


def test_keys_that_name_a_field_are_identifiers():
    assert [key for key in KEYS if not is_identifier_key(key)] == []


def test_keys_that_may_be_data_are_no_identifiers():
    assert [key for key in NO_KEYS if is_identifier_key(key)] == []


def test_amounts_and_counts_are_numbers_and_accounts_are_not():
    texts = ["0", "-12.50", "1,234.50", "120", "1e6", "514012345678", "0312345678", "031234567", "12 50", "1.2.3"]

    assert [text for text in texts if is_number(text)] == ["0", "-12.50", "1,234.50", "120", "1e6"]


def test_dates_and_moments_are_told_by_their_look():
    moments = ["2026-11-28", "2026-11-28T09:15:00Z", "2026-11-28T09:15:00.123456+08:00", "1795854000", "1795854000123"]

    assert [text for text in [*moments, "2026-13-28", "900101-14-5678", "514012345678"] if is_moment(text)] == moments


@pytest.mark.parametrize("clear", DISGUISES)
def test_every_disguise_has_one_plain_form(clear):
    assert [text for text in DISGUISES[clear] if plain(text) != clear] == []


def test_what_is_plain_stays_as_it_is():
    texts = ["", "paid 100% (net) & done", "C:\\logs\\x.txt", "a\tb\nc", "Nurul & Sons"]

    assert [text for text in texts if plain(text) != text] == []
