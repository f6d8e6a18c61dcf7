"""Finds values that must not be quoted inside a text, however they are cut, cased or separated there.

Text and values are read as words: letters or digits in a row. A value is found where its words stand one after
another, whatever stands between them, and so is each of its words that looks like a name or a number. The work grows
with the length of the text plus that of the values: a value of many words is looked for in pieces of `MOST_WORDS`.
"""

import re
from collections.abc import Callable, Collection
from typing import Any

MOST_WORDS = 16
SHORTEST_NAME, SHORTEST_NUMBER = 4, 5
"""Of the words that are hidden alone. Shorter ones say too little."""
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
"""Scripts that set no space between words: there each letter counts as a word."""
_WORD = re.compile(rf"\[[a-z -]{{1,20}}(?: [0-9]{{1,9}})?\]|[^\W\d_{_UNSPACED}]+|[0-9]+|[^\W_]")
_END = ""


class HiddenValues:
    """Values that a text may not quote."""

    def __init__(self, values: Collection[str]) -> None:
        self._tree: dict[str, Any] = {}  # the words that may follow each word, and under `_END` the value
        for value in values:
            words = _WORD.findall(value)
            for start in range(0, len(words), MOST_WORDS):
                self._add(words[start : start + MOST_WORDS], value)
            for word in filter(_tells_somebody, words):
                self._add([word], word)

    def mask(self, text: str, shown: Callable[[str], str]) -> str:
        """The text with `shown(value)` in the place of each value."""
        found = list(_WORD.finditer(text))
        words = [word[0].casefold() for word in found]
        pieces, done, place = list[str](), 0, 0
        while place < len(words):
            length, value = self._longest(words, place)
            if length:
                pieces += [text[done : found[place].start()], shown(value)]
                done = found[place + length - 1].end()
            place += length or 1
        return "".join([*pieces, text[done:]])

    def _add(self, words: list[str], value: str) -> None:
        node = self._tree
        for word in words:
            node = node.setdefault(word.casefold(), {})
        node.setdefault(_END, value)

    def _longest(self, words: list[str], place: int) -> tuple[int, str]:
        node, length, value = self._tree, 0, ""
        for end in range(place, len(words)):
            if words[end] not in node:
                break
            node = node[words[end]]
            if _END in node:
                length, value = end + 1 - place, node[_END]
        return length, value


def _tells_somebody(word: str) -> bool:
    return len(word) >= (SHORTEST_NUMBER if word.isdigit() else SHORTEST_NAME) and not word.islower()
