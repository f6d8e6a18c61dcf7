"""Which failures have one cause: those with the same fingerprint. Pure.

A fingerprint is made of the event type and of the error as people see it (errors.py): the type of the error with its
code, the function of the partner's code, what it was caused by, and the masked message. Left out are the number of a
line, which changes with each release, and every word with a digit, such as an ID, an amount or the length of a masked
value. To leave out more, change `_varies()`.
"""

import hashlib
import re

LENGTH = 12
FORM = re.compile(rf"[0-9a-f]{{{LENGTH}}}")
_HEAD = re.compile(r"\w+(?: \[[A-Z0-9_]{5,50}\])?")
"""The type of the error, and a code such as PostgreSQL's 23505, which is no number that varies."""
_LINE = re.compile(r"(\.py):[0-9]+ in ")
_WORD = re.compile(r"[^\s,;:()\[\]'\"]+")
_DIGIT = re.compile("[0-9]")


def fingerprint(event_type: str | None, error: str) -> str:
    """Twelve hexadecimal digits. `error` is masked already."""
    head = _HEAD.match(error)
    begin = head[0] if head else ""
    rest = _WORD.sub(_constant, _LINE.sub(r"\1 in ", error[len(begin) :]))
    return hashlib.sha256(f"{event_type or ''}\n{begin}{rest}".encode(errors="surrogatepass")).hexdigest()[:LENGTH]


def _constant(word: re.Match[str]) -> str:
    return "#" if _varies(word[0]) else word[0]


def _varies(word: str) -> bool:
    """Whether another event would have another word here. The name of a file is always the same."""
    return _DIGIT.search(word) is not None and not word.endswith(".py")
