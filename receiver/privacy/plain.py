"""The plain form of a text, which detectors search: what a person would read, in ASCII if that says the same.

A card number in Arabic digits, with soft hyphens or as `%34111…` is a card number. To add another disguise, extend
`_same_as()` for single characters, or `_decoded()` for escape sequences. All of it is linear.
"""

import re
import unicodedata
from html import unescape
from urllib.parse import unquote

_MOST_LAYERS = 4
"""How many times a text is decoded that was encoded several times."""
_PERCENT = re.compile(r"%(?:25)+(?=[0-9A-Fa-f]{2})")
_AMPERSAND = re.compile(r"&(?:amp;)+")
_ENTITY = re.compile(r"&(?:#0{0,8}[0-9]{1,7};?|#[xX]0{0,8}[0-9A-Fa-f]{1,6};?|[A-Za-z]{2,31};)")
_ESCAPE = re.compile(r"(?<!\\)\\+(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))")
_AT = re.compile(r"\s{0,3}[\[({<]\s{0,3}at\s{0,3}[\])}>]\s{0,3}", re.I)
_DOT = re.compile(r"\s{0,3}[\[({<]\s{0,3}dot\s{0,3}[\])}>]\s{0,3}", re.I)
_KEPT_CONTROLS = "\t\n\r"
_INVISIBLE_LETTERS = "\u115f\u1160\u3164\uffa0\u2800"
"""Invisible characters whose Unicode category does not say so: fillers and the empty Braille cell."""
_PHRASE = "\ufdfa"
"""One character that stands for eighteen."""
_DASHES = "\u2212\u2043\u02d7\u30fc\u2796"
_DOTS = "\u3002\u00b7\u2022\u2219\u22c5\u30fb"
_SLASHES = "\u2215\u2044\u29f8"
_COLONS = "\u2236\ua789\u02d0"


def plain(text: str) -> str:
    """The text, decoded, with each digit, dash, space and dot in its ASCII form, and without invisible characters."""
    for _ in range(_MOST_LAYERS):
        if _is_plain(text):
            break
        before, text = text, _decoded(unicodedata.normalize("NFKC", text.replace(_PHRASE, "")).translate(_AS_READ))
        if text == before:
            break
    return text


def _is_plain(text: str) -> bool:
    """Whether the text is already plain. Most texts are, so this is quick."""
    return text.isascii() and text.isprintable() and not any(mark in text for mark in "%&\\([{<")


def _decoded(text: str) -> str:
    if "%" in text:
        text = unquote(_PERCENT.sub("%", text))
    if "&" in text:
        text = _ENTITY.sub(lambda found: unescape(found[0]), _AMPERSAND.sub("&", text))
    if "\\" in text:
        text = _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
    text = _DOT.sub(".", _AT.sub("@", text))
    return text if text.isprintable() and text.isascii() else text.translate(_AS_READ)


def _same_as(character: str) -> str:
    category = unicodedata.category(character)
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    if character in _KEPT_CONTROLS:
        return character
    if category in ("Cc", "Cf", "Cs", "Mn", "Me") or character in _INVISIBLE_LETTERS:
        return ""
    if category == "Pd" or character in _DASHES:
        return "-"
    if category in ("Zs", "Zl", "Zp"):
        return " "
    same = {_DOTS: ".", _SLASHES: "/", _COLONS: ":"}
    return next((ascii_form for those, ascii_form in same.items() if character in those), character)


class _AsRead(dict[int, str]):
    """The table for `str.translate()`, filled one code point at a time. It remembers the first plane only."""

    def __missing__(self, code: int) -> str:
        found = _same_as(chr(code))
        if code < 0x10000:
            self[code] = found
        return found


_AS_READ = _AsRead()
