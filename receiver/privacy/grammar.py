"""What may be shown because of how it looks: references, codes, numbers, moments, and keys that are identifiers.

A detector knows what personal data looks like. This module knows what harmless values look like, and everything else is
hidden. Words of letters alone are difficult, because a name looks like a code. A word in one case counts as a code,
unless it is a common name. A capitalised word must be one of `CODE_WORDS`.

To show another status such as `Endorsed`, add its words to `CODE_WORDS`. To show numbers such as `AB-1234567`, add
their prefix to `REFERENCE_PREFIXES`. A partner does both in a module `masking` (masking.py, `show_more()`). Then run
`flask --app wsgi events remask`.
"""

import re
from collections.abc import Iterable

from receiver.privacy.detectors import finds
from receiver.privacy.remembered import remembered

LONGEST_REFERENCE = 200
LONGEST_KEY = 64


def _words(text: str) -> set[str]:
    return set(text.split())


CODE_WORDS = _words(
    """
    accepted account active amount api approved authorised authorized bank basic business cancel canceled cancelled
    captured card cash charge chargeback charged claim claims closed code comp complete completed comprehensive
    confirmed created credit customer data debit declined deleted delivered denied dispute disputed draft due
    duplicate error event evt expired failed failure false family fee fire flagged fpx free full gateway health
    home id in inactive individual info initiated insurance insurer internal international invoice invoked issued
    item lapsed level life limit live loan locked loss manual marine medical method mode monthly motor motorcycle
    network new no none not null of off on online open order overdue paid partial partially party pay payment
    payments payout pending personal plan policy premium prepaid processed processing product progress purchase
    quarterly received recurring reference refund refunded refunds registered rejected released reminder renewal
    renewed replay report requested required resolved retry returned reversed review sale sandbox scheduled sent
    service settled settlement signed single stage standard state statement status submitted subscription succeeded
    success successful sum suspended system test timeout to transaction transfer travel true txn type under unknown
    unpaid up upcoming update updated user verification verified version void voided waiting wallet warning web
    webhook weekly with withdrawn yearly yes
    """
)
NAME_WORDS = _words(
    """
    abdul abdullah abu adam ahmad aiman ain aina aisyah ali alia aminah amir amirah anis anita anwar arjun asmah
    ayu aziz azizah azlan azman bala balan binte binti bte chan chandran cheah cheng cheong chew chin ching chong
    chow chua danial daud devaraj devi dewi diana fadzil faizal farah fatimah fatin fauzi fazilah gan ganesan
    ganesh goh gopal hafiz hafizah hajah haji halim hamid hamzah hanif haris hashim haslina hasnah hassan ho hong
    hussein ibrahim idris irfan ismail izzati jamal jamilah jaya jayanthi jing kamal karim kaur kavitha kevin
    khadijah khalid khoo koh kok kong kumar lai lakshmi latifah lau lee leela leong letchumi liew lim ling loh
    mageswari mahathir mahmud mani manoharan maria mariam masitah mat megat mei michelle ming mizan mohamad mohamed
    mohammad mohammed mohan mohd mokhtar muhamad muhammad munusamy murugan mustafa muthu nabila nadia nair nasir
    natasha nazri ng ngan nik noor nor norazlina normah nur nuraini nurfarah nurhaliza nurhidayah nurin nursyafiqah
    nurul omar ong osman othman pereira peter pillai priya puteri putri qistina rahim rahmah rahman rahmat raj
    rajan rajesh raju raman ramasamy ramesh ramli rani rashid ravi razak rohani roslan rosli rosmah rosnah rozita
    ruslan sabri safiah saiful salleh salmah samad samsudin samy sarah saravanan sathia selvam selvaraj shafiq shah
    shamsul shanti sharif sharifah sheikh sidek singh siti siva sivakumar soh soo subra subramaniam sufian sulaiman
    suraya suresh suriani syafiq syahirah syed tan tay tee teh tengku teo teoh thanabalan thomas tiong toh uma ummi
    vijay vikneswaran wafa wahid wan wei wong xin yahaya yahya yap yasmin yee yeoh ying yong yusof yusoff yusuf
    zaharah zahid zainab zainal zaiton zakaria zaki zarina zulkifli zuraidah
    """
)
"""Common names, and words that are part of names. No list is complete, so this is only the last of the checks."""
REFERENCE_PREFIXES = _words(
    """
    acc act app bil chg clm cus doc due e err evt fee gl http id inv iso key log mr msg myr no nr ord pa pay pm po
    pol pr ptn qt rcp ref req rfd rm rq sbx sea sgd so tkt tr trx tx txn usd v ver
    """
)
_MOST_WORDS = 8
_SHORTEST_NAME_WITHIN = 4  # shorter names occur by chance in random letters and digits
_LONGEST_WORD = 24
_SHORTEST_RANDOM = 12
_UUID = r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"
_ULID = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"
_HEX = r"(?=[0-9]{0,11}[A-Fa-f])(?=(?:[0-9]*[A-Fa-f]){4})[0-9A-Fa-f]{32}(?:[0-9A-Fa-f]{32})?"
_GENERATED = re.compile(rf"(?:[A-Za-z]{{1,10}}[_-])?(?:{_UUID}|{_ULID}|{_HEX})")
_SERIAL = re.compile(r"([A-Za-z]{1,4})[_-][0-9]{1,8}")
_WORDS = re.compile(r"[A-Za-z]+(?:[._ -][A-Za-z]+)*")
_TOKEN = re.compile(r"[A-Za-z0-9]+(?:(?:[._:/-]|--|__|::)[A-Za-z0-9]+)*")
_PHRASE = re.compile(r"[A-Za-z]+(?: [A-Za-z]+){0,3}")
_SEPARATORS = re.compile(r"[._:/-]+")
_LETTERS = re.compile(r"[A-Za-z]+")
_RUNS = re.compile(r"[A-Z]+|[a-z]+|[0-9]+")
_CAPITALISED = re.compile(r"[A-Z][a-z]+|[A-Z]+(?![a-z])|[a-z]+")
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,9}|[0-9]{1,3}(?:,[0-9]{3}){1,3})(?:\.[0-9]{1,8})?|-?[0-9.]{1,18}[eE][+-]?[0-9]{1,3}"
)
_MOMENT = re.compile(
    r"(?:19|20|21)[0-9]{2}[-/](?:0[1-9]|1[0-2])[-/](?:0[1-9]|[12][0-9]|3[01])"
    r"(?:[T ](?:[01][0-9]|2[0-4]):[0-5][0-9](?::[0-6][0-9](?:[.,][0-9]{1,9})?)?"
    r"(?: ?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?)?",
    re.I,
)
_EPOCH = re.compile(r"1[0-9]{9}(?:[0-9]{3}|[0-9]{6}|[0-9]{9})?(?:\.[0-9]{1,9})?")
_FOREIGN_IDENTITY = re.compile(
    r"[1-9][0-9]{5}(?:(?:[04][1-9]|[1256][0-9]|[37][01])(?:0[1-9]|1[0-2])[0-9]{6}"
    r"|(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{4})"
)
"""With the birth date in the middle: Indonesia's, where women have 40 added to the day, and China's."""
_DATED = re.compile(r"20[1-3][0-9](?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{0,16}")
_YEAR_AND_SERIAL = re.compile(r"20[0-9]{2}[-/][0-9]{1,9}")
_VERSION = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,4}){1,2}")
_AREA_AND_NUMBER = re.compile(r"0[1-9][0-9]{7}")
_PLATE = re.compile(r"(?:(?P<prefix>[A-HJ-NP-Z]{1,3})[-_/.]?[1-9][0-9]{2,3}[A-HJ-NP-Z]?)", re.I)
_SHORT_CODE = re.compile(r"[A-Z][1-9][0-9]{2}", re.I)
_DOCUMENT = re.compile(r"(?P<prefix>[A-Z]{1,2})[-_/.]?[0-9]{6,9}[A-Z]?", re.I)
_OFFICERS = re.compile(r"(?P<prefix>[A-Z])/[0-9]{4,7}", re.I)
"""The numbers of police and army officers."""
_TAX = re.compile(r"(?P<prefix>SG|OG|IG)[-_/.]?[0-9]{9,12}", re.I)
_IDENTIFIER = re.compile(r"[$@_]{0,2}[A-Za-z][A-Za-z0-9]*(?:[_.:-]{1,2}[A-Za-z0-9]+)*_?|[0-9]{1,3}")
_LONG_NUMBER = re.compile(r"[0-9]{5}")


_OUR_WORDS, _OUR_PREFIXES = frozenset(CODE_WORDS), frozenset(REFERENCE_PREFIXES)


def is_harmless(text: str) -> bool:
    """Whether the text is a number, a moment or a reference."""
    if text[:1].isalpha():
        return is_reference(text)
    return is_number(text) or is_moment(text) or is_reference(text)


def know_more(words: Iterable[str], prefixes: Iterable[str]) -> None:
    """Know these words of codes and prefixes of references beside ours, instead of those of an earlier call."""
    CODE_WORDS.intersection_update(_OUR_WORDS)
    CODE_WORDS.update(word.lower() for word in words)
    REFERENCE_PREFIXES.intersection_update(_OUR_PREFIXES)
    REFERENCE_PREFIXES.update(prefix.lower() for prefix in prefixes)


def is_reference(text: str) -> bool:
    """Whether the text looks like an ID, a reference number or a code, and not like something personal or secret.

    Examples: UUIDs, ULIDs, `TXN-2026-000123`, `pay_8ZkQ2mN`, `payment.success`, `insufficient_funds`, MYR, v2.1.
    """
    if not 0 < len(text) <= LONGEST_REFERENCE or not text.isascii():
        return False
    serial = _SERIAL.fullmatch(text)
    if serial and _is_prefix(serial[1]):
        return True  # the most frequent form, so it is tried first
    if _GENERATED.fullmatch(text):
        return True
    return _is_code_of_words(text) if _WORDS.fullmatch(text) else _is_other_reference(text)


def is_number(text: str) -> bool:
    """Whether the text is an amount or a count: at most nine digits before the point. Account numbers have more."""
    return bool(_NUMBER.fullmatch(text)) and not _AREA_AND_NUMBER.fullmatch(text)


def is_moment(text: str) -> bool:
    """Whether the text is a date, a date and time, or seconds or less since 1970, after September 2001."""
    return bool(_MOMENT.fullmatch(text) or _EPOCH.fullmatch(text))


def is_identifier_key(key: str) -> bool:
    """Whether a key looks like the name of a field, such as `policy_id`, `createdAt` or `X-Request-Id`."""
    if not 0 < len(key) <= LONGEST_KEY or not _IDENTIFIER.fullmatch(key) or _LONG_NUMBER.search(key):
        return False
    words = _SEPARATORS.split(key)
    return not (any(map(_names_somebody, words)) or (key.isupper() and _is_document(key)) or finds(key))


@remembered
def _is_prefix(word: str) -> bool:
    """Whether the number after this word is a serial number, not a number plate or a passport."""
    return word.lower() in REFERENCE_PREFIXES


def _is_other_reference(text: str) -> bool:
    if " " in text:  # a phrase such as `In Progress`: each of its words is known
        return _PHRASE.fullmatch(text) is not None and all(word in CODE_WORDS for word in text.lower().split(" "))
    return bool(_TOKEN.fullmatch(text)) and _is_code(text) and not finds(text)


_is_code_of_words = remembered(_is_other_reference)
"""The same, remembered: types, statuses, products and currencies are few."""


def _is_code(text: str) -> bool:
    parts = _SEPARATORS.split(text)
    if text.replace("-", "").replace(".", "").replace("/", "").isdigit():
        return _is_numeric_reference(text)
    words = [part for part in parts if part.isalpha()]
    return len(words) <= _MOST_WORDS and all(map(_is_code_part, parts)) and not _is_document(text)


def _is_numeric_reference(text: str) -> bool:
    """Whether the digits are a reference. Ten to fourteen digits may be an account; fewer may be a telephone."""
    if _YEAR_AND_SERIAL.fullmatch(text) or _VERSION.fullmatch(text):
        return True
    if not text.isdigit() or _AREA_AND_NUMBER.fullmatch(text):
        return False
    if _DATED.fullmatch(text):
        return True
    return len(text) < 10 or (15 <= len(text) <= 20 and not _FOREIGN_IDENTITY.fullmatch(text))


def _is_code_part(part: str) -> bool:
    """Whether it is a number, a word in one case, known words in any case, or letters and digits without a name."""
    if part.isdigit():
        return True
    if part.isalpha() and len(part) > _LONGEST_WORD and (part.islower() or part.isupper()):
        return False
    if _names_somebody(part):
        return False
    return _is_random(part) or not any(map(_is_capitalised, _LETTERS.findall(part)))


def _is_random(part: str) -> bool:
    """Whether capitals, small letters and digits change as often as in a generated ID. In a name they don't."""
    inner = part.strip("0123456789")
    if len(inner) < _SHORTEST_RANDOM or inner.isalpha() or len(_RUNS.findall(inner)) * 5 < len(inner) * 2:
        return False
    return not any(len(word) > 2 and word.lower() in NAME_WORDS for word in _CAPITALISED.findall(inner))


def _names_somebody(part: str) -> bool:
    lower = part.lower()
    if lower in NAME_WORDS:
        return True
    runs = _CAPITALISED.findall(part)
    return any(len(run) >= _SHORTEST_NAME_WITHIN and run.lower() in NAME_WORDS for run in runs)


def _is_capitalised(letters: str) -> bool:
    """Whether these letters may be a name: capitalised words, and at least one of them is not a word of a code."""
    words = _CAPITALISED.findall(letters)
    proper = [word for word in words if word[0].isupper() and word[1:].islower() and len(word) > 2]
    if len(proper) * 2 < len(words):
        return False  # random letters
    return any(word.lower() not in CODE_WORDS for word in proper)


def _is_document(text: str) -> bool:
    """Whether the text looks like a number plate, a passport, or the number of an officer or of a taxpayer."""
    for shape in (_PLATE, _DOCUMENT, _OFFICERS, _TAX):
        found = shape.fullmatch(text)
        if found and found["prefix"].lower() not in REFERENCE_PREFIXES and not _SHORT_CODE.fullmatch(text):
            return True
    return False
