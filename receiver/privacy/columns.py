"""What people see of a text that a sender chose: event IDs, references, types, statuses.

A text that looks like a reference (grammar.py) is shown unchanged. Any other text is shown as its kind and a short
form, such as `[nric kfhtzqvmwp]`. Equal texts have equal short forms. Without the key, nobody can guess the text. An
address has the text sealed, because browsers and routers keep addresses. To show more, see grammar.py.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from receiver.privacy.grammar import is_reference
from receiver.privacy.masking import mask_text
from receiver.privacy.plain import plain
from receiver.privacy.remembered import remembered

_LETTERS = "bcdfghjkmnpqrstv"
"""Sixteen letters, no digits and no vowels: a short form is never a word, nor a number that a detector finds."""
_SHORT_BYTES = 5
_FORM = re.compile(rf"\[[a-z -]{{2,20}} [{_LETTERS}]{{10}}\]")
_KIND = re.compile(r"\[([a-z -]{2,20})\]")
_SEALED = "~"
"""How a sealed text begins in an address. No reference begins like this."""


def short_form(kind: str, digest: bytes) -> str:
    """What people see instead of a text: its kind, and a form of its keyed digest."""
    return f"[{kind} {''.join(_LETTERS[int(sign, 16)] for sign in digest[:_SHORT_BYTES].hex())}]"


def is_shown(text: str) -> bool:
    """Whether people see the text unchanged. A short form of another text is shown unchanged too."""
    return is_reference(text) or _FORM.fullmatch(text) is not None


@dataclass(frozen=True, eq=False)
class Showing:
    """How one installation shows such texts. Its secret has 32 characters or more."""

    secret: str = field(repr=False)

    def __call__(self, text: str) -> str:
        """What people see of the text. A short form stays as it is."""
        return self._shown(text)

    def hides(self, text: str) -> bool:
        """Whether people see a short form instead of the text."""
        return self._shown(text) != text

    def in_address(self, text: str) -> str:
        """The text as an address has it: unchanged, or sealed so that only `from_address()` can read it."""
        if not self.hides(text):
            return text
        sealed = self._cipher.encrypt(text.encode(errors="surrogatepass"), None)
        return _SEALED + base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def from_address(self, text: str) -> str:
        """The text that `in_address()` put into an address. What was not sealed here is the text itself."""
        if not text.startswith(_SEALED):
            return text
        try:
            sealed = base64.b64decode(text[1:] + "=" * (-(len(text) - 1) % 4), altchars=b"-_", validate=True)
            return self._cipher.decrypt(sealed, None).decode(errors="surrogatepass")
        except (binascii.Error, ValueError, InvalidTag):
            return text

    @cached_property
    def _keys(self) -> bytes:
        return hmac.digest(self.secret.encode(), b"what people see of columns", "sha512")

    @cached_property
    def _cipher(self) -> AESSIV:
        """A cipher that needs no nonce: it gives the same text the same address each time."""
        return AESSIV(self._keys[:32])

    @cached_property
    def _shown(self) -> Callable[[str], str]:
        return remembered(self._show)

    def _show(self, text: str) -> str:
        if is_shown(text):
            return text
        digest = hmac.digest(self._keys[32:], text.encode(errors="surrogatepass"), "sha256")
        kind = _KIND.fullmatch(mask_text(plain(text)))
        return short_form(kind[1] if kind else "text", digest)
