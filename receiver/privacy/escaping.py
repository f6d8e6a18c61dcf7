"""What can't be stored or shown as text, as text: `\\ud800` for half of a surrogate pair, which JSON may hold.

No database keeps that, nor can it be sent to a browser; PostgreSQL keeps no NUL, and terminals obey control characters.
Whatever passes the masking is escaped, so everything that people see.
"""

import re
from typing import Any

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def escaped(text: str) -> str:
    """The text with such characters as JSON writes them. What is fit stays as it is, line ends and tabs too."""
    return _UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", text) if _UNFIT.search(text) else text


def one_line(text: str) -> str:
    """The text as one line that a terminal prints as it stands: no control character, no sign that nobody can see."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in "  ".join(text.splitlines()))


def escaped_json(value: Any) -> Any:
    """A JSON value with every text in it escaped, keys too."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {escaped(key): escaped_json(item) for key, item in value.items()}
    return [escaped_json(item) for item in value] if isinstance(value, list) else value
