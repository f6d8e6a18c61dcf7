"""Which failures count as one: the same error in the same function, whatever the event."""

import pytest

from receiver.privacy.fingerprint import FORM, fingerprint

PLACE = "ValueError at app/handlers/payments.py:41 in payment_success, caused by KeyError"
SPOKEN = "BankClosed: no answer for TXN-204518 after 3.5 s (at app/handlers/core_system.py:12 in post)"
SAME = [
    (PLACE, PLACE.replace(":41", ":97")),
    (SPOKEN, SPOKEN.replace("TXN-204518", "TXN-7").replace("3.5", "12")),
    (SPOKEN.replace("TXN-204518", "evt_9f2"), SPOKEN),
    ("unusable: timestamp missing_offset", "unusable: timestamp missing_offset"),
    ("Refused: [text 12] is not known", "Refused: [text 31] is not known"),
]
OTHER = [
    (PLACE, PLACE.replace("payment_success", "payment_failed")),
    (PLACE, PLACE.replace("payments.py", "policies.py")),
    (PLACE, PLACE.replace("ValueError", "TypeError")),
    (PLACE, PLACE.replace("KeyError", "IndexError")),
    (SPOKEN, SPOKEN.replace("no answer", "an odd answer")),
    ("IntegrityError [23505] at app/x.py:1 in f", "IntegrityError [23503] at app/x.py:1 in f"),
    ("A at app/v1.py:1 in f", "A at app/v2.py:1 in f"),
    ("unusable: timestamp missing_offset", "unusable: event_id missing"),
]


def cause_of(error, event_type="payment.success"):
    return fingerprint(event_type, error)


def test_numbers_ids_lines_and_masked_values_make_no_other_cause():
    assert [pair for pair in SAME if cause_of(pair[0]) != cause_of(pair[1])] == []


def test_another_error_place_cause_code_or_message_is_another_cause():
    assert [pair for pair in OTHER if cause_of(pair[0]) == cause_of(pair[1])] == []


def test_another_event_type_is_another_cause():
    assert cause_of(PLACE) != cause_of(PLACE, "payment.failed") != cause_of(PLACE, None)


@pytest.mark.parametrize("error", ["", "?", "\ud800 7", "x" * 5000 + "7", PLACE])
def test_it_is_twelve_digits_whatever_the_error_says(error):
    assert FORM.fullmatch(cause_of(error))
