"""Remembers what was found out about a short text: the keys of payloads are the same again and again.

Only short ones, and only so many: whoever sends payloads must not fill our memory.
"""

from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

LONGEST = 64
MOST = 4096


def remembered(find_out: Callable[[str], Found]) -> Callable[[str], Found]:
    """The same function, which does its work once for each short text. When it knows too many, it forgets them all."""
    return _Known(find_out).__getitem__


class _Known(dict[str, Found]):
    """A dictionary, since nothing in Python looks up faster."""

    def __init__(self, find_out: Callable[[str], Found]) -> None:
        self._find_out = find_out

    def __missing__(self, text: str) -> Found:
        found = self._find_out(text)
        if len(text) <= LONGEST:
            if len(self) >= MOST:
                self.clear()
            self[text] = found
        return found
