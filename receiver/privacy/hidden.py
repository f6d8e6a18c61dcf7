"""Finds values in a text that the text must not quote, in any case, cut, or with any separators.

Text and values are read as words: letters or digits in a row. A value is found where its words follow one another,
whatever is between them. Each of its words that looks like a name or a number is found alone too. The work grows with
the length of the text plus the length of the values: a value of many words is searched in pieces of `MOST_WORDS`.
"""

import re
from collections.abc import Callable, Collection
from typing import Any

MOST_WORDS = 16
SHORTEST_NAME, SHORTEST_NUMBER = 4, 5
"""The length from which a word is hidden alone. A shorter word says too little."""
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
"""Scripts without spaces between words. There, each letter counts as a word."""
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
        """The text in which `shown(value)` replaces each value."""
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
