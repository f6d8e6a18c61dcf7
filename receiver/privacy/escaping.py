"""Writes characters that can't be stored or shown as text: `\\ud800` for half of a surrogate pair, which JSON may hold.

No database and no browser takes half a pair. PostgreSQL takes no NUL, and terminals obey control characters. Masking
escapes everything, so everything that people see is escaped.
"""

import re
from typing import Any

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def escaped(text: str) -> str:
    """The text with such characters as JSON writes them. Other characters stay, line ends and tabs too."""
    return _UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", text) if _UNFIT.search(text) else text


def one_line(text: str) -> str:
    """The text as one line, without control characters and invisible characters: a terminal prints it unchanged."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in "  ".join(text.splitlines()))


def escaped_json(value: Any) -> Any:
    """A JSON value in which every text is escaped, keys too."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {escaped(key): escaped_json(item) for key, item in value.items()}
    return [escaped_json(item) for item in value] if isinstance(value, list) else value
