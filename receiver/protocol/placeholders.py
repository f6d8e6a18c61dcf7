"""Texts that are no real secrets: placeholders, and secrets that everybody can read or guess.

To add one: put a text that asks to be replaced into `_UNFILLED`, a published secret into `_PUBLISHED`, and what people
type when they need any text into `_TYPED`.
"""

import re

_UNFILLED = re.compile(
    r"change[\W_]*(me|this)|replace[\W_]*(me|this|with)|your[\W_]*(secret|key|token|password)"
    r"|(secret|key|token|password)[\W_]*here|placeholder|example",
    re.IGNORECASE,
)
_TYPED = re.compile(
    r"secret|passwor[dt]|letmein|default|insecure|qwert|asdfgh|abcdefgh|01234567|12345678|deadbeef", re.IGNORECASE
)
_PUBLISHED = {
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",  # Standard Webhooks, and our own tests
    "whsec_plJ3nmyCDGBKInavdOK15jsl",  # Svix
    "8f742231b10e8888abcd99yyyzzz85a5",  # Slack
    "It's a Secret to Everybody",  # GitHub
}


def is_unfilled(secret: str) -> bool:
    """Whether the text asks to be replaced."""
    return _UNFILLED.search(secret) is not None


def is_published(secret: str) -> bool:
    """Whether the secret is in public documentation, repeats one text, or asks to be replaced."""
    return secret in _PUBLISHED or is_repeated(secret.encode()) or is_unfilled(secret)


def is_repeated(key: bytes) -> bool:
    """Whether the key repeats a shorter key."""
    return key in (key + key)[1:-1]


def is_guessable(secret: str) -> bool:
    """Whether it is published, or looks typed. Only for secrets that you choose: an issuer's may look like that."""
    return is_published(secret) or _TYPED.search(secret) is not None
