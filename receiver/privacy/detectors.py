"""What personal data and secrets look like inside free text. To add a kind: a `Detector` with its samples.

A detector's expression finds runs. A run begins where the character before it can't be part of one, so the expression
reads each character only once. If an expression is not enough, a function of the run decides; it is linear too.
tests/receiver/security/test_growth_of_masking.py checks this for every detector.

Detectors read the text itself and its plain form (plain.py): masking.py does both.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

from receiver.privacy.digits import DIGIT_RUN, MANY_DIGITS, mask_digits


@dataclass(frozen=True)
class Detector:
    """A shape, what replaces it, and synthetic samples that it must find.

    Every find contains the `hint`. Most texts don't, so they need no closer look. `rewrite` gives the replacement of a
    match, if that is not the kind in brackets.
    """

    kinds: tuple[str, ...]
    pattern: re.Pattern[str]
    samples: tuple[str, ...]
    hint: re.Pattern[str]
    rewrite: Callable[[str], str] | None = None

    def mask(self, text: str) -> str:
        """The text with every find replaced."""
        rewrite = self.rewrite
        if rewrite is None:
            return self.pattern.sub(f"[{self.kinds[0]}]", text)
        return self.pattern.sub(lambda found: rewrite(found[0]), text)


def _mask_tokens(run: str) -> str:
    """A run of words with dots between them, in which every JSON Web Token is masked."""
    words = run.split(".")
    for place, word in enumerate(words[:-1]):
        start = word.find("eyJ")
        if 0 <= start <= len(word) - 8 and len(words[place + 1]) >= 5:
            words[place : place + 3] = [f"{word[:start]}[jwt]", "", ""][: len(words) - place]
    return re.sub(r"(?<=\[jwt\])\.{1,2}", "", ".".join(words))


def _mask_address(run: str) -> str:
    """An IPv6 address, whatever punctuation is around it."""
    address = run.strip(".:") if not run.startswith("::") else run.rstrip(".:")
    if len(address) < 3 or len(run) > 64:
        return run
    try:
        IPv6Address(address)
    except AddressValueError:
        return run
    return run.replace(address, "[ip]", 1)


def _mask_account(found: str) -> str:
    """An account number after the word that names it. The word stays."""
    return re.sub(r"[0-9][0-9 -]*[0-9]$", "[account]", found)


def _mask_iban(found: str) -> str:
    compact = found.replace(" ", "").upper()
    number = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
    return "[iban]" if int(number) % 97 == 1 else found


_NAME = r"[A-Z][\w'@.-]{0,30}"
_BETWEEN_NAMES = r"(?:[Bb]inti|[Bb]inte|[Bb]te|[Bb]in|BINTI|BINTE|BTE|BIN|[aAsSdD]/[lLpPoO])"

DETECTORS = (
    Detector(
        ("private key",),
        re.compile(r"-----BEGIN [A-Z ]{3,40}-----[^-]*(?:-----END [A-Z ]{3,40}-----)?"),
        ("-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----",),
        re.compile(r"-----BEGIN"),
    ),
    Detector(
        ("jwt",),
        re.compile(r"(?<![\w.-])[\w-]+(?:\.[\w-]*)+"),
        ("eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl",),
        re.compile(r"eyJ"),
        _mask_tokens,
    ),
    Detector(
        ("credentials",),
        re.compile(r"\b(?:bearer|basic|digest)\s+(?!\[)[\w.~+/=-]{6,}", re.I),
        ("Bearer abcdef0123456789",),
        re.compile(r"[BbDd][EeAaIi][AaSsGg]"),
    ),
    Detector(
        ("url password",), re.compile(r"(?<=://)[^\s/@\[]{1,256}@"), ("postgres://user:pass@db/x",), re.compile(r"@")
    ),
    Detector(
        ("secret",),
        re.compile(r"\b(?:whsec|whpk|sk|pk|rk)_(?!\[)[\w+/=-]{6,}"),
        ("whsec_MfKQ9r8GKYqrTwjU",),
        re.compile(r"[ck]_"),
    ),
    Detector(
        ("secret",),
        re.compile(
            r"(?<![a-z])(?:password|passwd|secret|token|api[_-]?key|authorization)[\"']?\s{0,3}[=:]\s{0,3}(?!\[)"
            r"[\"']?(?!\[)[^\s\"',;&\[]{3,}",
            re.I,
        ),
        ("password=hunter2",),
        re.compile(r"[=:]"),
    ),
    Detector(
        ("secret",),
        re.compile(r"(?<![\w-])(?:gh[a-z]_|github_pat_|glpat-|xox[a-z]-|A[KS]IA|AIza|ya29\.)(?!\[)[\w.-]{10,}"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a",),
        re.compile(r"gh[a-z]_|git|glpat|xox|A[KS]IA|AIza|ya29"),
    ),
    Detector(
        ("secret",),
        re.compile(
            r"(?<![A-Za-z])(?:cv[vc]2?|pin|security code|kata laluan)"
            r"(?:\s{0,3}[=:]\s{0,3}|\s{1,3})[0-9]{3,8}(?![0-9])",
            re.I,
        ),
        ("CVV: 123",),
        re.compile(r"[Cc][Vv]|[Pp][Ii][Nn]|[Cc][Oo][Dd][Ee]|[Ll][Uu][Aa][Nn]"),
    ),
    Detector(
        ("e-mail",),
        re.compile(r"(?<![\w.+%-])[\w.+%-]+@(?:[A-Za-z][\w-]{0,62}|[\w-]{1,63}(?=\.))(?:\.[\w-]{1,63}){0,8}"),
        ("siti@example.com",),
        re.compile(r"@"),
    ),
    Detector(
        ("e-mail",),
        re.compile(r"(?<![\w.+%-])[\w.+%-]+ at [\w-]{1,63}(?: dot [\w-]{2,63}){1,8}", re.I),
        ("siti at example dot com",),
        re.compile(r" dot ", re.I),
    ),
    Detector(
        ("name",),
        re.compile(rf"(?<![\w'@.-])(?:{_NAME} ){{1,4}}{_BETWEEN_NAMES}(?: {_NAME}){{1,4}}"),
        ("Siti Nurhaliza binti Osman",),
        re.compile(rf" {_BETWEEN_NAMES} "),
    ),
    Detector(
        ("name",),
        re.compile(
            rf"(?<![\w'@.-])(?:Encik|Puan|Cik|Tuan|Dato'?|Datuk|Datin|Tan Sri|Dr\.?|Mrs?\.?|Ms\.?)"
            rf" {_NAME}(?: {_NAME}){{0,3}}"
        ),
        ("Puan Siti Nurhaliza",),
        re.compile(r"Encik|Puan|Cik|Tuan|Dat|Tan Sri|Dr|M[rs]"),
    ),
    Detector(
        ("account",),
        re.compile(
            r"\b(?:a/c|acct?|account|akaun|rekening)\b(?:[ .]{0,2}(?:no|num|number|nombor|#))?[ .:#=]{0,4}"
            r"[0-9](?:[ -]?[0-9]){6,20}",
            re.I,
        ),
        ("account no. 5140 1234 5678",),
        re.compile(r"[Aa]/?[CcKk]|[Rr][Ee][Kk]"),
        _mask_account,
    ),
    Detector(
        ("iban",),
        re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"),
        ("GB82 WEST 1234 5698 7654 32",),
        re.compile(r"[A-Z]{2}[0-9]{2}"),
        _mask_iban,
    ),
    Detector(
        ("document",),
        re.compile(r"(?<![\w-])[A-Z][0-9]{7,8}[A-Z]?(?![\w-])"),
        ("A12345678",),
        re.compile(r"[A-Z][0-9]{7}"),
    ),
    Detector(
        ("device",),
        re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?![\w:-])"),
        ("00:1A:2B:3C:4D:5E",),
        re.compile(r"(?:[:-][0-9A-Fa-f]{2}){5}"),
    ),
    Detector(
        ("location",),
        re.compile(r"(?<![\w.])-?[0-9]{1,3}\.[0-9]{4,12}\s{0,2}[,;/]\s{0,2}-?[0-9]{1,3}\.[0-9]{4,12}(?![\w.])"),
        ("3.13900, 101.68690",),
        re.compile(r"\.[0-9]{4,12}\s{0,2}[,;/]"),
    ),
    Detector(
        ("ip",),
        re.compile(r"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.])"),
        ("203.0.113.7",),
        re.compile(r"\.[0-9]{1,3}\."),
    ),
    Detector(
        ("nric", "card", "phone", "account"),
        DIGIT_RUN,
        ("900101-14-5678", "4111 1111 1111 1111", "+60 12-345 6789", "012-345 6789", "5140-1234-5678"),
        MANY_DIGITS,
        mask_digits,
    ),
    Detector(
        ("ip",),
        re.compile(r"(?<![\w:.])[0-9A-Fa-f:][0-9A-Fa-f:.]+"),
        ("2001:db8::1",),
        re.compile(r":[0-9A-Fa-f]{0,4}:"),
        _mask_address,
    ),
)
SHORTEST_TOKEN = len("AKIA") + 10
"""Characters of the shortest token that may have letters alone."""
KINDS = frozenset(kind for detector in DETECTORS for kind in detector.kinds)

_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
"""The most frequent text that looks like personal data, but is not."""


def suspects(text: str) -> list[Detector]:
    """The detectors that might find something in the text, because their hint is in it."""
    if (len(text) < SHORTEST_TOKEN and text.isalpha()) or _MOMENT.fullmatch(text):
        return []
    return [detector for detector in DETECTORS if detector.hint.search(text)]


def finds(text: str) -> bool:
    """Whether a detector finds anything in the text."""
    return any(detector.mask(text) != text for detector in suspects(text))
