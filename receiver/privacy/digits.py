"""Which numbers are personal: identity cards, payment cards, telephones and accounts, however their digits are grouped.

A run is digits with a few separators between them. It is read once. At the start of each group of digits, each kind is
asked whether it begins there. A find ends where a group ends. To add a kind, write a function like `_card_end()`, add
it to `_KINDS`, and give detectors.py a sample.
"""

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

_BETWEEN = r"[ \t._/()+-]"
DIGIT_RUN = re.compile(rf"(?<![0-9])[+(]{{0,2}}[0-9](?:{_BETWEEN}{{0,3}}[0-9])*")
MANY_DIGITS = re.compile(rf"[0-9](?:{_BETWEEN}{{0,3}}[0-9]){{8}}")
_FEWEST, _MOST = 9, 20
_ISSUERS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"30[0-5]|3[689]"), (14,)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16,)),
    (re.compile(r"5[1-5]|2[2-7]"), (16,)),
    (re.compile(r"5[0678]|6"), tuple(range(13, 20))),  # one of twelve digits looks like an identity card
)
"""How card numbers begin, and how many digits they may have."""
_EXPIRY = re.compile(r"(?:0[1-9]|1[0-2])[0-9]{2}|[0-9]{2}(?:0[1-9]|1[0-2])|(?:0[1-9]|1[0-2])20[0-9]{2}")
_DATE = re.compile(r"[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")
_LOOSE_DATE = re.compile(r"[0-9]{2}[01][0-9][0-3][0-9]")
_PHONE = re.compile(r"(?:(?:00)?600?|0)(?:1[0-9]{8,9}|[3-9][0-9]{7,8})")
_ANY_PHONE = re.compile(r"[1-9][0-9]{7,14}")
_ACCOUNT = re.compile(r"(?!(?:19|20)[0-9]{2}-)[0-9]{1,6}(?:-[0-9]{2,10}){1,4}")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


class _Digits(NamedTuple):
    """A run: its text, its digits with their places in the text, and where groups of digits begin and end."""

    text: str
    digits: str
    places: Sequence[int]
    begins: Sequence[int]
    ends: Sequence[int]
    sums: tuple[Sequence[int], Sequence[int]]  # running Luhn sums, the digits at even or at odd places doubled


def mask_digits(run: str) -> str:
    """A run of digits and separators with every personal number in it replaced by its kind."""
    if len(run) < _FEWEST:
        return run
    read = _read(run)
    if len(read.digits) < _FEWEST:
        return run
    pieces: list[str] = []
    done, next_begin, first_end = 0, 0, 0
    for begin in read.begins:
        while read.ends[first_end] <= begin:
            first_end += 1
        if begin < next_begin:
            continue
        kind, end = _find(read, begin, first_end)
        if kind:
            start = 0 if begin == 0 and kind == "phone" else read.places[begin]
            pieces += [run[done:start], f"[{kind}]"]
            done, next_begin = read.places[end - 1] + 1, end
    pieces.append(run[done:])
    if done == 0 and 10 <= len(read.digits) <= 17 and _ACCOUNT.fullmatch(run):
        return "[account]"
    return "".join(pieces)


def _read(run: str) -> _Digits:
    places = [place for place, character in enumerate(run) if "0" <= character <= "9"]
    digits = "".join([run[place] for place in places])
    begins = [n for n, place in enumerate(places) if n == 0 or places[n - 1] != place - 1]
    values = [int(digit) for digit in digits]
    odd = [_DOUBLED[value] if n % 2 else value for n, value in enumerate(values)]
    even = [value if n % 2 else _DOUBLED[value] for n, value in enumerate(values)]
    sums = (list(accumulate(even, initial=0)), list(accumulate(odd, initial=0)))
    return _Digits(run, digits, places, begins, [*begins[1:], len(digits)], sums)


def _find(read: _Digits, begin: int, first_end: int) -> tuple[str, int]:
    """The kind that begins here, and where it ends. The kind is empty if none begins here."""
    ends = [end for end in read.ends[first_end : first_end + _MOST] if _FEWEST - 1 <= end - begin <= _MOST]
    if not ends:
        return "", 0
    for kind, find_end in _KINDS:
        end = find_end(read, begin, ends)
        if end:
            return kind, end
    return "", 0


def _card_end(read: _Digits, begin: int, ends: Sequence[int]) -> int:
    """Where a card's number ends. An expiry date may follow without a separator."""
    lengths = next((found for issuer, found in _ISSUERS if issuer.match(read.digits, begin)), ())
    for length in reversed(lengths):
        end = begin + length
        if end in ends and _is_luhn(read, begin, end):
            return end
    for card in (begin + length for length in lengths):
        for end in (card + 4, card + 6):
            if end in ends and _EXPIRY.fullmatch(read.digits, card, end) and _is_luhn(read, begin, card):
                return end
    return 0


def _is_luhn(read: _Digits, begin: int, end: int) -> bool:
    sums = read.sums[end % 2]  # the last digit, at `end - 1`, is not doubled; the one before it is
    return (sums[end] - sums[begin]) % 10 == 0


def _nric_end(read: _Digits, begin: int, ends: Sequence[int]) -> int:
    end = begin + 12
    if end not in ends:
        return 0
    is_grouped = begin + 6 in ends and begin + 8 in ends
    date = _LOOSE_DATE if is_grouped else _DATE
    return end if date.match(read.digits, begin) else 0


def _phone_end(read: _Digits, begin: int, ends: Sequence[int]) -> int:
    shape = _PHONE
    if begin == 0 and "+" in read.text[: read.places[0]]:
        shape = _ANY_PHONE
    elif read.digits[begin] not in "06":
        return 0
    return next((end for end in reversed(ends) if shape.fullmatch(read.digits, begin, end)), 0)


_KINDS: tuple[tuple[str, Callable[[_Digits, int, Sequence[int]], int]], ...] = (
    ("card", _card_end),
    ("nric", _nric_end),
    ("phone", _phone_end),
)
