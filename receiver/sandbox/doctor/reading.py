"""Reads deliveries from a file: a raw HTTP request, a curl command, a HAR file, or an export of webhook.site or ngrok.

To read another form of capture, add a function that makes deliveries of it to `read_captures()`. curl.py reads curl
commands, exports.py reads JSON.
"""

import re
from urllib.parse import urlsplit

from receiver.protocol.captured import Captured
from receiver.sandbox.doctor.curl import from_curl
from receiver.sandbox.doctor.exports import from_export
from receiver.sandbox.doctor.not_a_capture import NotACapture as NotACapture

_REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/[0-9.]+\r?\n")
_CURL = re.compile(rb"(\S*/)?curl(\.exe)?\s")


def read_captures(text: bytes) -> list[Captured]:
    """The deliveries that a file holds, at least one. Raises NotACapture."""
    text = text.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"{", b"[")):
        return from_export(text)
    return [read_capture(text)]


def read_capture(text: bytes) -> Captured:
    """The first delivery that a file holds. Raises NotACapture."""
    text = text.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _REQUEST_LINE.match(text):
        return _from_http(text)
    if text.startswith((b"{", b"[")):
        return from_export(text)[0]
    if not _CURL.match(text):
        raise NotACapture(
            "neither an HTTP request (POST /path HTTP/1.1), nor a curl command, nor an export "
            "(HAR, webhook.site, ngrok)"
        )
    return from_curl(text)


def _from_http(text: bytes) -> Captured:
    head, separator, body = _split_head(text)
    request_line, *lines = head.decode("latin-1").splitlines()
    headers = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    method, target = request_line.split()[:2]
    if method in ("GET", "HEAD"):
        raise NotACapture(f"it is a {method}, and a webhook is a POST: perhaps a person's browser was sent here")
    if not separator:
        raise NotACapture("the HTTP request has no empty line between its headers and its body")
    captured = Captured(target, headers, body)
    length = captured.header("content-length")
    # An editor adds a newline at the end of a file; the length knows better.
    if re.fullmatch("[0-9]{1,18}", length) and len(body) - int(length) in (1, 2) and not body[int(length) :].strip():
        body = body[: int(length)]
    return Captured(_absolute(captured.url, captured.header("host")), headers, body)


def _split_head(text: bytes) -> tuple[bytes, bytes, bytes]:
    windows, unix = text.find(b"\r\n\r\n"), text.find(b"\n\n")
    return text.partition(b"\r\n\r\n" if windows >= 0 and (unix < 0 or windows < unix) else b"\n\n")


def _absolute(target: str, host: str) -> str:
    return target if urlsplit(target).scheme or not host else f"https://{host}{target}"
