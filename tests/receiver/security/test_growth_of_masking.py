"""Masking costs linear time and a small multiple of its text in memory, whatever a stranger or a sender writes.

The text of a log line or an error is looked at up to 64 KB, a value or a key of a payload up to much less; what goes
over the whole of a body is tried with as much, which is enough to see what is quadratic.
"""

import time
import tracemalloc

import pytest

from receiver.privacy.card_data import drop_authentication_data
from receiver.privacy.detectors import DETECTORS
from receiver.privacy.hidden import HiddenValues
from receiver.privacy.masking import MOST_TEXT, hidden_values, mask_payload, mask_text
from receiver.privacy.plain import plain

EIGHT_TIMES = 8
MOST_GROWTH = 24  # eight times the size costs eight times the time, or 64 times where the time is quadratic
BODY = 64 * 1024
QUICK = 0.02  # seconds of CPU time; what is done within them is not judged
MOST_MEMORY = 400  # bytes for each character
TRIES = 4
UNITS = [
    "1-", "1 ", "4-", "4111-", "6 ", "4", "900101-14-", "0123456789 ", "+60", "+(", "1.", "1.1.1.1.", "3.1390,", "00:",
    "a:", "::", "f:", "eyJ-", "eyJaaaaa.", "a.", "@", "a@", "a@b.", "a.b@", "://", "://a", "://a:b", "bearer ",
    "Bearer  ", "sk_", "k_", "password=", "token: ", "-----BEGIN A", "-----BEGIN AAA-----", " ", "\t", "A ",
    "Aa bin ", "bin ", " at ", "a at b dot ", "a/c ", "a/c 1", "GB82", "GB82 ", "A1234567", "[", "[text 5]", "[nric] ",
    "%", "%25", "%2525", "%40", "%F0", "&", "&amp;", "&#", "&#48", "&#0000000000", "\\", "\\u", "\\u0030", "\\\\x41",
    "(at)", "( at", "[dot] ", "\u0664", "\u200b", "\ufdfa", "e\u0301", "陈", "\ud800", "\x1b[", '"', '{"cvv":', "cvv=",
    "card ", "track1", "%B4111", ";4111111111111111=", "<cvv>", '{"a":', "[[", "security", "\n", "Traceback ",
]  # fmt: skip
LOOKS = {
    "mask_text": (mask_text, MOST_TEXT),
    "plain": (plain, MOST_TEXT),
    "hidden values": (lambda text: HiddenValues([text]).mask(text, lambda _value: "[text]"), MOST_TEXT // 4),
    "a value": (lambda text: mask_payload({"id": text, "status": [text, {text: text}]}), BODY),
    "card data": (lambda text: drop_authentication_data({"note": text, text: [text]}), BODY),
}


def text_of(unit, size):
    return (unit * (size // len(unit) + 1))[:size]


def seconds(look, text):
    started = time.process_time()
    look(text)
    return time.process_time() - started


def grows_too_fast(look, unit, size):
    """Whether eight times the size costs much more than eight times the time, in each of several tries."""
    for _ in range(TRIES):
        took = seconds(look, text_of(unit, size))
        if took < QUICK or took < MOST_GROWTH * seconds(look, text_of(unit, size // EIGHT_TIMES)):
            return False
    return True


@pytest.mark.soak
@pytest.mark.parametrize("name", LOOKS)
def test_the_time_grows_with_the_size_of_a_text(name):
    look, size = LOOKS[name]

    assert [unit for unit in UNITS if grows_too_fast(look, unit, size)] == []


@pytest.mark.soak
def test_each_detector_is_linear():
    slow = [
        (detector.kinds, unit)
        for detector in DETECTORS
        for unit in UNITS
        if grows_too_fast(detector.mask, unit, MOST_TEXT // 2) or grows_too_fast(detector.hint.search, unit, MOST_TEXT)
    ]

    assert slow == []


@pytest.mark.soak
@pytest.mark.parametrize("unit", ["4-", "陈", "%25", "a@b."])
def test_memory_is_a_small_multiple_of_a_text(unit):
    text = text_of(unit, MOST_TEXT)
    tracemalloc.start()
    try:
        mask_text(text, hidden=[text])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < MOST_MEMORY * MOST_TEXT


def test_the_time_grows_with_the_number_of_keys():
    def mask_keys(text):
        mask_payload({f"{key}{place}@example.com": 1 for place, key in enumerate(text)})

    assert not grows_too_fast(mask_keys, "k", 8_000)


def test_the_time_grows_with_the_number_of_hidden_values():
    def mask_hidden(text):
        names = {"names": [f"Value number {place} of many" for place in range(len(text))]}
        mask_text("Value number 7 of many " * len(text), hidden=hidden_values(names))

    assert not grows_too_fast(mask_hidden, "v", 2_000)
