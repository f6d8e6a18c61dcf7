"""What must never be stored, not even sealed: card verification codes, PINs and track data (PCI DSS 3.3.1).

Such data is dropped wherever it is: under a key that names it in any spelling, as the value beside such a name
(`{"name": "cvv", "value": "123"}`), and inside text, which may be JSON, a form, markup or a sentence.

To add a name: put a name that is clear among other words (`customer_card_cvv`) into `_NAMED`, and a name that is clear
only by itself into `_ALONE`. Each name needs its hint in `_HINT` and in `_HINTS`: what has no hint is not searched.
"""

import json
import re
from collections.abc import Iterable, Iterator
from string import ascii_lowercase, ascii_uppercase, digits, whitespace

from receiver.privacy.plain import plain
from receiver.privacy.remembered import remembered

_WHAT = r"(?:code|number|num|no|value|val|data|digits?)?"
_NAMED = re.compile(
    rf"(?:card|cc)?(?:[di]?c(?:vv|vc|vn|vd|vx)[0-9]?|cav2|csc){_WHAT}|(?:card|cc)(?:security|verification){_WHAT}"
    rf"|(?:card|cc)validation(?:code|number|value|digits?)|card(?:code|identificationcode)|(?:card|amex)cid|pvv"
    r"|(?:card|atm|debit|credit|bank|encrypted|clear|new|old|current|user|customer)pin"
    r"|(?:card|atm|encrypted)?pin(?:block|code|number|no|value|data|offset|verificationvalue)"
    r"|(?:card|msr|mag|emv|raw)?tracks?(?:[123]|i{1,3}|one|two|three)(?:equivalent)?(?:data)?"
    r"|(?:card|msr|mag|emv|raw)?tracks?data[123]?|mag(?:netic)?stripe(?:data)?(?:track)?[123]?|swipedata"
)
_ALONE = re.compile(r"cid|pin|tracks?|verification(?:code|value|number|digits?)|security(?:code|value|digits?)|cvs|cve")
_OUTCOMES = frozenset(
    {"check", "checks", "checked", "match", "matched", "present", "provided", "required", "response", "result",
     "results", "status", "valid", "verified"}
)  # fmt: skip
"""Words of a key that holds the result of a check of such data."""
_NAME_KEYS = frozenset(
    {"attribute", "code", "field", "fieldname", "id", "k", "key", "label", "name", "param", "parameter", "type"}
)
_VALUE_KEYS = frozenset(
    {"answer", "content", "data", "input", "raw", "text", "v", "val", "value", "values"}
)  # fmt: skip
_HINT = re.compile(r"c(?:v|sc|id|av2|ard)|p(?:in|vv)|track|ipe|secur|verificat|valid|[\^=%\\&]", re.I)
_STRUCTURE = re.compile(r"[ \t\r\n=:>#%&\\^D]|[^\x00-\x7f]")
"""Every text with a name and a value, a track or a disguise has at least one of these."""
_SEAM = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
_LONGEST_NAME, _MOST_WORDS = 64, 8
_SHORTEST_TEXT = len("cvv=123")
_TRACK = re.compile(r"(?<![0-9])[0-9]{12,19}(?:\^[^^]{2,26}\^[0-9]{4,}|[=D][0-9]{7,})")
_NAME_IN_TEXT = re.compile(
    r"(?<![A-Za-z0-9])([A-Za-z][A-Za-z0-9]*(?:[ _.-][A-Za-z0-9]+){0,7})"
    r"(?:[\s\"'\\)\]]{0,8}[:=>][\s\"'\\(\[]{0,8}|[\s#]{1,3}(?=[0-9]{3,12}(?![0-9])))"
    r"(?=[^\s\"'&,;<>\\{}\[\]():=])"
)
_VALUE_IN_TEXT = re.compile(r"[^\s\"'&,;<>\\{}\[\]():=]+")
_MAY_HOLD = (str, dict, list)
_HINTS = (
    "cv", "csc", "cav", "cid", "card", "ccvalid", "pin", "pvv", "track", "stripe", "swipe", "secur", "verif"
)  # fmt: skip
_DISGUISES = ("%", "&", "\\", "(", "<", "=", "^", "[at", "[dot", "{at", "{dot")
"""What `plain()` or a track needs."""
_LOWER = bytes.maketrans(ascii_uppercase.encode(), ascii_lowercase.encode())
_SPACE = whitespace.encode() + b"\x7f"
_BETWEEN_WORDS = bytes(set(range(256)) - set((ascii_lowercase + ascii_uppercase + digits).encode()))
_TRACK_IN_WORDS = re.compile(r"d(?<=[0-9]d)[0-9]{7}")
_FILLERS = ("is", "was", "no", "number")


def _any_of(words: Iterable[str]) -> str:
    """A pattern for any of the words. A filler may stand between the parts of a name in a sentence.

    Words with the same beginning share it, and a look at the next letter ends most tries: every delivery is searched.
    """
    ends: dict[str, list[str]] = {}
    for word in words:
        ends.setdefault(word[0], []).append(word[1:])
    return "|".join(letter if "" in after else letter + _after_fillers(after) for letter, after in ends.items())


def _after_fillers(words: list[str]) -> str:
    begins = "".join(sorted({word[0] for word in (*words, *_FILLERS)}))
    return f"(?=[{begins}])(?:{'|'.join(_FILLERS)})*(?:{_any_of(words)})"


_HINTED = re.compile(_any_of(_HINTS))


_FORBIDDEN, _NAME, _VALUE, _OTHER = range(4)
"""What a key says about its value."""


def drop_authentication_data(payload: object) -> tuple[object, bool]:
    """The payload without such data, at any depth, and whether there was any."""
    if not _holds_any(payload):
        return payload, False
    return _without(payload), True


def may_hold_authentication_data(body: bytes) -> bool:
    """A quick look at a whole body of JSON. Most bodies hold no such data, and need not be searched value by value.

    All words are looked at as one, for a name may have anything between its words, as `c.v.v` has.
    """
    if not body.isascii() or any(map(_lower(body, _SPACE).__contains__, _DISGUISES)):
        return True
    words = _lower(body, _BETWEEN_WORDS)
    return _HINTED.search(words) is not None or _TRACK_IN_WORDS.search(words) is not None


def _lower(body: bytes, without: bytes) -> str:
    return body.translate(_LOWER, without).decode("ascii")


def cut_authentication_data(text: str) -> str:
    """A text that can't be parsed, without such data. The rest of it is unchanged."""
    return _cleared_sentence(_TRACK.sub("", text))


def _holds_any(payload: object) -> bool:
    if isinstance(payload, str):
        return _STRUCTURE.search(payload) is not None and _cleared(payload) != payload
    if isinstance(payload, dict):
        for key, value in payload.items():
            role = _role(key)
            if role == _FORBIDDEN or (isinstance(value, _MAY_HOLD) and _holds_any(value)):
                return True
            if role == _NAME and _is_forbidden(value) and _values_of_forbidden_names(payload):
                return True
        return False
    return isinstance(payload, list) and (_is_pair(payload) or any(map(_holds_any, payload)))


def _without(payload: object) -> object:
    if isinstance(payload, dict):
        dropped = _values_of_forbidden_names(payload)
        return {
            key: _without(value) for key, value in payload.items() if _role(key) != _FORBIDDEN and key not in dropped
        }
    if isinstance(payload, list):
        return [payload[0], None] if _is_pair(payload) else [_without(item) for item in payload]
    return _cleared(payload) if isinstance(payload, str) else payload


def _values_of_forbidden_names(payload: dict[str, object]) -> list[str]:
    """The keys of the values that another entry names, as in `{"name": "cvv", "value": "123"}`."""
    named = any(_role(key) == _NAME and _is_forbidden(value) for key, value in payload.items())
    return [key for key in payload if _role(key) == _VALUE] if named else []


def _is_pair(items: list[object]) -> bool:
    """Whether a list is a name and its value, as in `["cvv", "123"]`."""
    return len(items) == 2 and _is_forbidden(items[0]) and any(map(str.isdigit, str(items[1])))


def _is_forbidden(name: object) -> bool:
    return isinstance(name, str) and len(name) <= _LONGEST_NAME and _role(name) == _FORBIDDEN


@remembered
def _role(key: str) -> int:
    words = _words(key)
    together = "".join(words)
    if _is_named(words) or _ALONE.fullmatch(together) or _cleared(key) != key:
        return _FORBIDDEN
    if together in _NAME_KEYS:
        return _NAME
    return _VALUE if together in _VALUE_KEYS else _OTHER


def _words(name: str) -> list[str]:
    """The words of a key in lower case. A long key is a text, not a name."""
    return [word.lower() for word in _SEAM.split(plain(name)) if word] if len(name) <= _LONGEST_NAME else []


def _is_named(words: list[str]) -> bool:
    """Whether words side by side name such data, and no word says that the value is the result of a check."""
    if not _OUTCOMES.isdisjoint(words):
        return False
    return any(_NAMED.fullmatch(together) for together in _runs(words[:_MOST_WORDS]))


def _runs(words: list[str]) -> Iterator[str]:
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield "".join(words[start:end])


def _cleared(text: str) -> str | None:
    """The text, or its plain form, without such data. None if such data can't be cut out of it."""
    if not _may_hold(text):
        return text
    cleared = _cleared_as_it_is(text)
    if cleared != text:
        return cleared
    read = plain(text)
    cleared = read if read == text else _cleared_as_it_is(read)
    return text if cleared == read else cleared


def _may_hold(text: str) -> bool:
    """A quick look: most texts hold no such data."""
    if len(text) < _SHORTEST_TEXT or not _STRUCTURE.search(text):
        return False
    return _HINT.search(text) is not None or "D" in text or not text.isascii()


def _cleared_as_it_is(text: str) -> str | None:
    if _TRACK.search(text):
        return None
    cleared = _cleared_json(text)
    return _cleared_sentence(text) if cleared == text else cleared


def _cleared_json(text: str) -> str:
    """Text that is JSON, without such data. Other text is unchanged."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        found = json.loads(text)
        kept = _without(found)
        return text if kept == found else json.dumps(kept, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _cleared_sentence(text: str) -> str:
    """The text without the values behind such names."""
    pieces, done = list[str](), 0
    for found in _NAME_IN_TEXT.finditer(text):
        value = _VALUE_IN_TEXT.match(text, found.end())
        if value and _names_in_text(found[1]):
            pieces.append(text[done : value.start()])
            done = value.end()
    return "".join([*pieces, text[done:]]) if pieces else text


@remembered
def _names_in_text(words_before: str) -> bool:
    """Whether the words end with such a name. Other words may be before it."""
    words = [word for word in _words(words_before[-_LONGEST_NAME:]) if word not in _FILLERS]
    ends = ["".join(words[start:]) for start in range(len(words))][-_MOST_WORDS:]
    return any(_NAMED.fullmatch(end) or _ALONE.fullmatch(end) for end in ends) and _OUTCOMES.isdisjoint(words)
