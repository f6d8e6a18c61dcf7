"""The error of a file that holds no delivery."""


class NotACapture(Exception):
    """The text is no delivery in a known form. The message says what is missing."""
