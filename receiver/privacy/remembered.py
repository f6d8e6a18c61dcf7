"""Remembers a function's result for a short text: the keys of payloads are mostly the same.

It remembers short texts only, and a limited number of them: a sender must not fill our memory.
"""

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

Found = TypeVar("Found")

LONGEST = 64
MOST = 4096


def remembered(find_out: Callable[[str], Found]) -> Callable[[str], Found]:
    """The same function, which works once for each short text. When it knows too many texts, it forgets them all."""
    known = _Known(find_out)
    _all_known[id(known)] = known
    return known.__getitem__


def forget() -> None:
    """Forget every result. Call it when something has changed that results depend on."""
    for known in list(_all_known.values()):
        known.clear()


class _Known(dict[str, Found]):
    """A dictionary, because nothing in Python is faster to look up."""

    def __init__(self, find_out: Callable[[str], Found]) -> None:
        self._find_out = find_out

    def __missing__(self, text: str) -> Found:
        found = self._find_out(text)
        if len(text) <= LONGEST:
            if len(self) >= MOST:
                self.clear()
            self[text] = found
        return found


_all_known = WeakValueDictionary[int, _Known[Any]]()
