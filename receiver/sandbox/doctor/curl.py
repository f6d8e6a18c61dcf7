"""Reads a delivery from a curl command as people paste it: from a shell, from a browser, or from Windows' cmd.

An option that takes a value and is not known here would make its value the address, so all of them are listed. To know
another: its name in `_WITH_VALUE`.
"""

import base64
import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote

from receiver.protocol.captured import Captured
from receiver.sandbox.doctor.not_a_capture import NotACapture

_BODY = ("-d", "--data", "--data-raw", "--data-binary", "--data-ascii", "--json", "--data-urlencode")
_WITH_VALUE = frozenset({
    "-A", "--user-agent", "-b", "--cookie", "-c", "--cookie-jar", "-e", "--referer", "-m", "--max-time", "-o",
    "--output", "-w", "--write-out", "-x", "--proxy", "-X", "--request", "-u", "--user", "--connect-timeout",
    "--retry", "--retry-delay", "--retry-max-time", "--resolve", "--connect-to", "--cacert", "--cert", "-E", "--key",
    "--interface", "--limit-rate", "--url", "-H", "--header", "-D", "--dump-header", "-K", "--config", "-F", "--form",
    "-T", "--upload-file", "--proxy-header", "--ciphers", "--tls-max", "--max-redirs", "--oauth2-bearer", "--stderr",
    "-r", "--range", "-y", "-Y", "-z", "-C", "-t", "-P", "-Q", *_BODY,
})  # fmt: skip
_SHORT = re.compile(r"-([a-zA-Z#]+)(.*)", re.DOTALL)


def from_curl(text: bytes) -> Captured:
    """The delivery of a curl command. Raises NotACapture."""
    try:
        words = shlex.split(_unescaped(_without_cmd(text.decode())))
    except ValueError:
        raise NotACapture("neither an HTTP request nor a curl command: a quote is not closed") from None
    url, headers, body = "", [], None
    for option, value in _options(words[1:]):
        if option in ("-H", "--header"):
            name, _, said = value.partition(":")
            headers.append((name.strip(), said.strip()))
        elif option in _BODY:
            part = _urlencoded(value) if option == "--data-urlencode" else value
            body = f"{body}&{part}" if body is not None else part
        elif option in ("-A", "--user-agent"):
            headers.append(("User-Agent", value))
        elif option in ("-u", "--user"):
            headers.append(("Authorization", f"Basic {base64.b64encode(value.encode()).decode()}"))
        elif option == "--oauth2-bearer":
            headers.append(("Authorization", f"Bearer {value}"))
        elif option in ("", "--url"):
            url = value
        elif option in ("-F", "--form"):
            raise NotACapture("the curl command sends a multipart form, which no webhook is")
    if body is None:
        raise NotACapture("the curl command has no body (--data-raw '…')")
    if body.startswith("@"):
        raise NotACapture("the curl command reads its body from another file: put the body itself into it")
    if not any(name.lower() == "content-type" for name, _ in headers) and not body.lstrip().startswith(("{", "[")):
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    return Captured(url, tuple(headers), body.encode("utf-8", "surrogateescape"))


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Each option with its value, attached or next. An address has an empty option."""
    arguments = iter(words)
    for word in arguments:
        if word.startswith("--"):
            option, equals, attached = word.partition("=")
            yield option, (attached if equals else next(arguments, "")) if option in _WITH_VALUE else ""
        elif len(word) > 1 and word.startswith("-"):
            yield from _short(word, arguments)
        else:
            yield "", word


def _short(word: str, arguments: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Options of one letter, which may stand together: `-sSXPOST`, `-H'X-Id: 1'`."""
    for place, letter in enumerate(word[1:], 1):
        option = f"-{letter}"
        if option in _WITH_VALUE:
            yield option, word[place + 1 :] or next(arguments, "")
            return
        yield option, ""


def _urlencoded(value: str) -> str:
    name, equals, text = value.partition("=")
    return f"{name}={quote(text, safe='')}" if equals and name else quote(text or name, safe="")


def _without_cmd(text: str) -> str:
    """The command as a shell writes it, if it was written for Windows' cmd: a caret there escapes, or joins lines."""
    if not re.search(r"\^(\r?\n|\"|%)", text):
        return text
    return re.sub(r"\^(\r?\n|.)", lambda match: " " if match[1].endswith("\n") else match[1], text)


def _unescaped(text: str) -> str:
    """The text for shlex: Bash's `$'…'` becomes plain quoting, and a backslash at the end of a line joins lines."""
    joined = re.sub(r"\\\r?\n", " ", text)
    return re.sub(r"\$'((?:[^'\\]|\\.)*)'", lambda match: shlex.quote(_ansi_c(match[1])), joined)


def _ansi_c(text: str) -> str:
    simple = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", '"': '"'}

    def one(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if code[0] in "ux" and len(code) > 1 else simple.get(code, code)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", one, text, flags=re.DOTALL)
