"""Remembers what was found out about a short text: the keys of payloads are the same again and again.

Only short ones, and only so many: whoever sends payloads must not fill our memory.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

Found = TypeVar("Found")

LONGEST = 64
MOST = 4096


def remembered(find_out: Callable[[str], Found]) -> Callable[[str], Found]:
    """The same function, which does its work once for each short text."""
    known = lru_cache(MOST)(find_out)

    def find(text: str) -> Found:
        return known(text) if len(text) <= LONGEST else find_out(text)

    return find
