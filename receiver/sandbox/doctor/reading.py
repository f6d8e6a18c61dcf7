"""Reads one delivery from a file: a raw HTTP request, or a curl command line.

To read another form of capture, add a function that makes a `Captured` of it, and call it in `read_capture()`.
"""

import re
import shlex
from urllib.parse import urlsplit

from receiver.protocol.captured import Captured

_REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/[0-9.]+\r?\n")
_BODY_OPTIONS = ("-d", "--data", "--data-raw", "--data-binary", "--data-ascii", "--json")


class NotACapture(Exception):
    """The text is neither an HTTP request nor a curl command. The message says what is missing."""


def read_capture(text: bytes) -> Captured:
    """The delivery that a file holds. Raises NotACapture."""
    if _REQUEST_LINE.match(text.lstrip()):
        return _from_http(text.lstrip())
    try:
        words = shlex.split(_unescaped(text.decode()))
    except ValueError:
        raise NotACapture("neither an HTTP request nor a curl command: a quote is not closed") from None
    if not words or not words[0].endswith("curl"):
        raise NotACapture("neither an HTTP request (POST /path HTTP/1.1) nor a curl command")
    return _from_curl(words)


def _from_http(text: bytes) -> Captured:
    head, separator, body = _split_head(text)
    request_line, *lines = head.decode("latin-1").splitlines()
    headers = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    if not separator:
        raise NotACapture("the HTTP request has no empty line between its headers and its body")
    captured = Captured(request_line.split()[1], headers, body)
    length = captured.header("content-length")
    # An editor adds a newline at the end of a file; the length knows better.
    if re.fullmatch("[0-9]{1,18}", length) and len(body) - int(length) in (1, 2) and not body[int(length) :].strip():
        body = body[: int(length)]
    return Captured(_absolute(captured.url, captured.header("host")), headers, body)


def _split_head(text: bytes) -> tuple[bytes, bytes, bytes]:
    windows, unix = text.find(b"\r\n\r\n"), text.find(b"\n\n")
    return text.partition(b"\r\n\r\n" if windows >= 0 and (unix < 0 or windows < unix) else b"\n\n")


def _from_curl(words: list[str]) -> Captured:
    url, headers, body = "", [], None
    arguments = iter(words[1:])
    for word in arguments:
        option, equals, attached = word.partition("=") if word.startswith("--") else (word, "", "")
        if option in ("-H", "--header"):
            name, _, value = (attached if equals else next(arguments, "")).partition(":")
            headers.append((name.strip(), value.strip()))
        elif option in _BODY_OPTIONS:
            body = (body + "&" if body is not None else "") + (attached if equals else next(arguments, ""))
        elif option in ("-X", "--request", "-o", "--output", "-u", "--user", "--url"):
            value = attached if equals else next(arguments, "")
            url = value if option == "--url" else url
        elif not word.startswith("-"):
            url = word
    if body is None:
        raise NotACapture("the curl command has no body (--data-raw '…')")
    if body.startswith("@"):
        raise NotACapture("the curl command reads its body from another file: put the body itself into it")
    return Captured(url, tuple(headers), body.encode("utf-8", "surrogateescape"))


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


def _absolute(target: str, host: str) -> str:
    return target if urlsplit(target).scheme or not host else f"https://{host}{target}"
