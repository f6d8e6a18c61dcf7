"""What masking shows and hides of 64 kinds of personal values and 24 kinds of harmless ones (§9.3)."""

import json

from receiver.privacy.masking import UNMASKABLE, hidden_values, mask_payload, mask_text
from tests.receiver.security.values import HARMLESS, PERSONAL, PERSONAL_BY_PLACE

SAFE_KEYS = ("id", "reference", "status", "type", "currency", "code", "amount", "createdAt", "policy_number", "plan")
PARTIES = (
    "customer insured payer payee beneficiary card bank account_holder policyHolder billing_address nextOfKin owner "
    "driver contact person claimants paymentCard bankAccount CardHolderInfo nominees claimant_2 spouse pemegang"
)
TOLD_BY_NOBODY = {
    "Chinese name", "Indian name", "other name", "name as a reference", "name encoded", "passport with words",
    "account", "number plate", "account with words", "address", "birth date with words", "health", "free text",
    "markup", "JSON within text", "address on the web", "XML", "account of more banks", "base64 of a name",
    "birth date in words", "driving licence", "home", "illness", "name in capitals with commas", "name of a firm",
    "name of a hospital", "place", "police and army number", "tax number", "vehicle", "hardware address",
}  # fmt: skip
"""Kinds that free text hides only when the payload holds the value: a name looks like any other word."""


def all_of(table):
    return [value for values in table.values() for value in values]


def shown(value):
    return json.dumps(value, ensure_ascii=False)


def test_no_personal_value_passes_under_a_safe_key():
    passed = [
        (key, value)
        for key in SAFE_KEYS
        for value in all_of(PERSONAL)
        if json.dumps(value, ensure_ascii=False)[1:-1] in shown(mask_payload({"data": {key: [value, {key: value}]}}))
    ]

    assert passed == []


def test_no_personal_number_passes_under_a_safe_key():
    numbers = [900101145678, 4111111111111111, 60123456789, 514012345678, 900101145678.0, 3174055505900001]

    assert [
        number for number in numbers if str(number) in shown(mask_payload({"id": number, "amount": [number]}))
    ] == []


def test_no_value_passes_below_a_party():
    values = all_of(PERSONAL) + all_of(PERSONAL_BY_PLACE) + all_of(HARMLESS)
    passed = [
        (party, value)
        for party in PARTIES.split()
        for value in values
        if value in mask_payload({party: [{"status": value}, {"details": {"id": value}}]})[party][0].values()
        or value in mask_payload({party: [{"status": value}, {"details": {"id": value}}]})[party][1]["details"].values()
    ]

    assert passed == []
    assert mask_payload({"payer": {"status": True, "amount": 12}}) == {
        "payer": {"status": "[boolean]", "amount": "[number 2]"}
    }


def test_no_personal_key_is_shown():
    values = [
        value for value in all_of(PERSONAL) if value in mask_payload({"a": [{value: {"status": "paid"}}]})["a"][0]
    ]

    assert values == []


def test_harmless_values_stay_readable_under_a_safe_key():
    hidden = [
        (key, value)
        for key in SAFE_KEYS
        for value in all_of(HARMLESS)
        if mask_payload({"data": {key: value}}) != {"data": {key: value}}
    ]

    assert hidden == []
    numbers = {"amount": [120.5, 12050, 0, -12.5], "timestamp": 1795854000, "id": 42, "livemode": False}
    assert mask_payload(numbers) == numbers


def test_harmless_values_stay_readable_in_a_text():
    assert [value for value in all_of(HARMLESS) if value not in mask_text(f"before {value} after")] == []


def test_what_a_text_tells_of_a_person_is_hidden():
    kinds = PERSONAL.keys() - TOLD_BY_NOBODY
    values = [value for kind in sorted(kinds) for value in PERSONAL[kind]]

    assert [value for value in values if value in mask_text(f"before {value} after")] == []


def test_a_text_does_not_quote_a_hidden_value_in_any_form():
    forms = {
        "as it is": str,
        "upper-cased": str.upper,
        "represented": repr,
        "as JSON": json.dumps,
        "cut": lambda value: value[: len(value) * 2 // 3],
        "with other separators": lambda value: value.replace(" ", "_").replace("-", " "),
    }
    names = [
        "Siti Nurhaliza binti Osman",
        "Tan Wei Ming",
        "陈伟明",
        "José García",
        "O'Brien, Mary",
        "WXY 1234",
        "Aminah",
    ]
    hidden = hidden_values({"holder": names, "Puan Rosnah": {"note": "merdeka"}})
    told = [
        (form, name, masked)
        for form, write in forms.items()
        for name in names
        if (masked := mask_text(f"before {write(name)} after", hidden=hidden)) and tells(masked, name)
    ]

    assert told == []
    assert "Rosnah" not in mask_text("KeyError: 'Puan Rosnah'", hidden=hidden)


def tells(text, name):
    """Whether the text has a word of the name that tells somebody."""
    words = [word for word in name.replace("'", " ").replace(",", " ").split() if len(word) > 3 and word != "binti"]
    return any(word.casefold() in text.casefold() for word in words or [name])


def test_masking_masked_values_changes_nothing():
    for value in all_of(PERSONAL) + all_of(HARMLESS) + all_of(PERSONAL_BY_PLACE):
        payload = mask_payload({"status": value, value: value, "data": {"id": value}})
        text = mask_text(f"before {value} after")

        assert mask_payload(payload) == payload
        assert mask_text(text) == text


def test_keys_that_are_masked_to_the_same_text_keep_all_entries():
    keys = [
        "[e-mail] 2",
        "a@example.com",
        "b@example.com",
        "[e-mail] 3",
        "[e-mail]",
        "c@example.com",
        "Siti A",
        "Siti B",
    ]
    masked = mask_payload(dict.fromkeys(keys, 1))

    assert len(masked) == len(keys)
    assert not masked.keys() & {"a@example.com", "b@example.com", "c@example.com", "Siti A", "Siti B"}
    assert mask_payload(masked) == masked


def test_a_payload_that_is_too_large_to_be_looked_at_is_unmaskable():
    assert mask_payload({"data": [0] * 10_001}) == UNMASKABLE
    assert mask_payload({"data": {f"k{n}": 0 for n in range(10_001)}}) == UNMASKABLE
    assert mask_payload({"id": ["a"] * 5_000}) == {"id": ["a"] * 5_000}


def test_an_event_that_is_too_large_to_be_looked_at_is_processed(perform, signed_in):
    for data, seen in (
        ({f"siti{n}@example.com": n for n in range(8_000)}, "[e-mail] 8000"),
        ({"1-" * 100_000: "paid"}, "[text 200000]"),
        ({f"k{n}": n for n in range(11_000)}, UNMASKABLE),
    ):
        row = perform("payment.success", event_id=f"evt_{len(data)}", data=data)

        assert row.state == "processed"
        assert seen in row.masked_payload
        assert seen in signed_in().get(f"/events/{row.id}").text


def test_a_text_that_is_too_large_to_be_looked_at_is_unmaskable():
    assert mask_text("a" * 70_000) == UNMASKABLE
    assert mask_text("a", hidden=hidden_values({"notes": [f"Note {n}" for n in range(20_000)]})) == UNMASKABLE


def test_a_key_of_900_kilobytes_is_not_looked_at():
    assert mask_payload({"1-" * 450_000: 1}) == {"[text 900000]": "[number 1]"}
