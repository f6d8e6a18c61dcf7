"""What personal data and secrets look like inside free text. To add a kind: a `Detector` and its sample.

Every expression is linear: no repetition stands inside another one, and each repetition is bounded or of one
character class that its neighbour can't match.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stdnum import luhn
from stdnum.my import nric

_ISSUER = re.compile(r"3[0-9]|4|5[0-9]|6[0-9]|2[2-7]")


@dataclass(frozen=True)
class Detector:
    """A shape, what stands in its place, and a synthetic sample that it must find.

    `hint` is what every find has in it, and most texts have not: they need no closer look.
    """

    name: str
    pattern: re.Pattern[str]
    sample: str
    hint: re.Pattern[str]
    confirm: Callable[[str], bool] = lambda _text: True
    rewrite: Callable[[str], str] | None = None  # masks a part of what the pattern found
    digits_only: bool = False  # would also match a plain reference number

    def mask(self, text: str) -> str:
        """The text with every find replaced."""
        if self.rewrite is not None:
            rewrite = self.rewrite
            return self.pattern.sub(lambda m: rewrite(m[0]), text)
        return self.pattern.sub(lambda m: f"[{self.name}]" if self.confirm(m[0]) else m[0], text)


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


def _is_card(text: str) -> bool:
    digits = _digits(text)
    return bool(_ISSUER.match(digits)) and luhn.is_valid(digits)


def _mask_cards(run: str) -> str:
    """A run of digit groups with every card in it masked: an expiry date behind a card must not hide it."""
    parts = re.split(r"([ -])", run)  # groups at even places, separators between them
    start = 0
    while start < len(parts):
        for end in range(len(parts), start, -2):
            if 12 <= len("".join(parts[start:end:2])) <= 19 and _is_card("".join(parts[start:end])):
                parts[start:end] = ["[card]"]
                break
        start += 2
    return "".join(parts)


def _is_nric(text: str) -> bool:
    digits = _digits(text)
    return "-" in text or nric.is_valid(digits)


DETECTORS = (
    Detector(
        "private key",
        re.compile(r"-----BEGIN [A-Z ]{3,40}-----[^-]*(?:-----END [A-Z ]{3,40}-----)?"),
        "-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----",
        re.compile(r"-----BEGIN"),
    ),
    Detector(
        "jwt",
        re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"),
        "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl",
        re.compile(r"eyJ"),
    ),
    Detector(
        "credentials",
        re.compile(r"(?i)\b(?:bearer|basic|digest)\s+(?!\[)[\w.~+/=-]{6,}"),
        "Bearer abcdef0123456789",
        re.compile(r"\s"),
    ),
    Detector("url password", re.compile(r"(?<=://)[^\s/@\[]{1,256}@"), "postgres://user:pass@db/x", re.compile(r"@")),
    Detector(
        "secret",
        re.compile(r"\b(?:whsec|whpk|sk|pk|rk)_(?!\[)[\w+/=-]{6,}"),
        "whsec_MfKQ9r8GKYqrTwjU",
        re.compile(r"[ck]_"),
    ),
    Detector(
        "secret",
        re.compile(
            r"(?i)(?<![a-z])(?:password|passwd|secret|token|api[_-]?key|authorization)[\"']?\s{0,3}[=:]\s{0,3}(?!\[)"
            r"[\"']?(?!\[)[^\s\"',;&\[]{3,}"
        ),
        "password=hunter2",
        re.compile(r"[=:]"),
    ),
    Detector(
        "e-mail", re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), "siti@example.com", re.compile(r"@")
    ),
    Detector(
        "nric",
        re.compile(r"(?<![0-9])[0-9]{2}[01][0-9][0-3][0-9][- ]?[0-9]{2}[- ]?[0-9]{4}(?![0-9])"),
        "900101-14-5678",
        re.compile(r"[0-9]{2}[01][0-9][0-3]"),
        _is_nric,
    ),
    Detector(
        "card",
        re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){11,99}(?![0-9])"),
        "4111 1111 1111 1111",
        re.compile(r"[0-9](?:[ -]?[0-9]){7}"),
        rewrite=_mask_cards,
        digits_only=True,
    ),
    Detector(
        "phone",
        re.compile(r"(?<![0-9+])\+?60[ -]?[0-9]{1,2}[ -]?[0-9]{3,4}[ -]?[0-9]{4}(?![0-9])"),
        "+60 12-345 6789",
        re.compile(r"[0-9](?:[ -]?[0-9]){7}"),
        digits_only=True,
    ),
    Detector(
        "phone",
        re.compile(r"(?<![0-9+])0[0-9]{1,2}[ -]?[0-9]{3,4}[ -]?[0-9]{4}(?![0-9])"),
        "012-345 6789",
        re.compile(r"[0-9](?:[ -]?[0-9]){7}"),
        digits_only=True,
    ),
    Detector(
        "ip",
        re.compile(r"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.])"),
        "203.0.113.7",
        re.compile(r"\.[0-9]{1,3}\."),
    ),
    Detector(
        "ip",
        re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){1,6}(?![\w:])"),
        "2001:db8::1",
        re.compile(r":[0-9A-Fa-f]{0,4}:"),
        lambda text: not re.fullmatch(r"[0-9]{2}:[0-9]{2}:[0-9]{2}", text),
    ),
)


_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
"""The commonest text that looks like something else."""


def _any_hint(detectors: Iterable[Detector]) -> re.Pattern[str]:
    return re.compile("|".join(sorted({detector.hint.pattern for detector in detectors})))


_FOR_REFERENCES = tuple(detector for detector in DETECTORS if not detector.digits_only)
_IN_TEXT, _IN_REFERENCES = _any_hint(DETECTORS), _any_hint(_FOR_REFERENCES)


def suspects(text: str, *, reference: bool = False) -> list[Detector]:
    """The detectors that might find something in the text, or in this reference number: their hint is there."""
    any_hint, detectors = (_IN_REFERENCES, _FOR_REFERENCES) if reference else (_IN_TEXT, DETECTORS)
    if text.isalpha() or not any_hint.search(text) or _MOMENT.fullmatch(text):
        return []
    return [detector for detector in detectors if detector.hint.search(text)]


def finds(text: str) -> bool:
    """Whether a detector finds anything in the text."""
    return any(detector.mask(text) != text for detector in suspects(text))
