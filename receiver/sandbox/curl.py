"""A signed delivery as a shell command that sends exactly these bytes, with printf and curl only.

A body of plain text is an argument. Any other body goes through the shell's own printf, with every byte as an octal
number. A terminal can't show all bytes, an argument can't hold a zero or more than 128 KiB, and curl reads an argument
that begins with @ as the name of a file.
"""

import shlex
import string

from receiver.protocol.signatures import Signed

LONGEST_ARGUMENT = 100_000
_TEXT = frozenset((string.ascii_letters + string.digits + string.punctuation + " \n").encode())
_PRINTF_TEXT = _TEXT - frozenset(b"'\\%-\n")
"""What printf prints unchanged. A leading - would be an option."""


def curl_command(url: str, signed: Signed) -> str:
    """The command that sends this delivery, for sh and similar shells."""
    headers = [part for name, value in signed.headers.items() for part in ("--header", f"{name}: {value}")]
    command = ["curl", "--include", "--globoff", *headers, url, "--data-binary"]
    if _is_argument(signed.body):
        return shlex.join([*command, signed.body.decode()])
    return f"printf '{_for_printf(signed.body)}' | {shlex.join([*command, '@-'])}"


def _is_argument(body: bytes) -> bool:
    return len(body) <= LONGEST_ARGUMENT and not body.startswith(b"@") and _TEXT.issuperset(body)


def _for_printf(body: bytes) -> str:
    return "".join(chr(byte) if byte in _PRINTF_TEXT else f"\\{byte:03o}" for byte in body)
