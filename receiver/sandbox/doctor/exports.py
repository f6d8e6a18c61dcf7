"""Reads deliveries from what tools export as JSON: HAR files, webhook.site and ngrok.

Each function takes one record, and returns None when it is of another tool. To read another tool's export, add a
function to `_READERS`.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from receiver.protocol.captured import Captured
from receiver.protocol.moments import NoMoment, read_moment
from receiver.sandbox.doctor.not_a_capture import NotACapture

_LISTS = ("entries", "requests", "data", "Requests")


def from_export(text: bytes) -> list[Captured]:
    """The POSTs of an export, the newest first. Raises NotACapture."""
    try:
        document = json.loads(text)
        found = [captured for record in _records(document) if (captured := _read(record))]
    except (ValueError, RecursionError, TypeError, AttributeError):
        raise NotACapture("it begins like JSON, but is no export that can be read") from None
    if not found:
        raise NotACapture(
            "it is JSON, but no HAR file and no export of webhook.site or ngrok with a POST in it. A body alone is not "
            "enough: the headers hold the signature"
        )
    return sorted(found, key=lambda captured: captured.received_at or datetime.min.replace(tzinfo=UTC), reverse=True)


def _records(document: Any) -> Iterator[dict[str, Any]]:
    if isinstance(document, list):
        yield from (record for record in document if isinstance(record, dict))
    elif isinstance(document, dict):
        inner = document.get("log", document)
        lists = [inner[name] for name in _LISTS if isinstance(inner, dict) and isinstance(inner.get(name), list)]
        yield from (record for some in lists for record in some if isinstance(record, dict))
        if not lists:
            yield document


def _read(record: dict[str, Any]) -> Captured | None:
    return next((captured for reader in _READERS if (captured := reader(record))), None)


def _har(record: dict[str, Any]) -> Captured | None:
    request = record.get("request")
    if not isinstance(request, dict) or "postData" not in request:
        return None
    posted = request["postData"]
    text = str(posted.get("text", ""))
    body = _base64(text) if posted.get("encoding") == "base64" else text.encode()
    if body is None:
        return None
    headers = [(header["name"], header["value"]) for header in request["headers"]]
    return Captured(str(request["url"]), _named(headers), body, _moment(record.get("startedDateTime")))


def _webhook_site(record: dict[str, Any]) -> Captured | None:
    if "content" not in record or "headers" not in record or record.get("method") not in (None, "POST"):
        return None
    headers = [(name, value[0] if isinstance(value, list) else value) for name, value in record["headers"].items()]
    moment = record.get("created_at")
    when = _moment(f"{moment} UTC" if isinstance(moment, str) and " " in moment else moment)
    return Captured(str(record.get("url", "")), _named(headers), str(record["content"] or "").encode(), when)


def _ngrok(record: dict[str, Any]) -> Captured | None:
    request = record.get("request")
    if not isinstance(request, dict) or "raw" not in request:
        return None
    raw = _base64(str(request["raw"]))
    if raw is None:
        return None
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(":") for line in lines)]
    captured = Captured(first.split()[1], _named(headers), body, _moment(record.get("start")))
    return Captured(f"https://{captured.header('host')}{captured.url}", captured.headers, body, captured.received_at)


_READERS: tuple[Callable[[dict[str, Any]], Captured | None], ...] = (_har, _webhook_site, _ngrok)


def _named(headers: Iterable[tuple[Any, Any]]) -> tuple[tuple[str, str], ...]:
    """The headers without the pseudo-headers of HTTP/2, such as `:path`."""
    return tuple((str(name).strip(), str(value).strip()) for name, value in headers if not str(name).startswith(":"))


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def _moment(value: object) -> datetime | None:
    with suppress(NoMoment):
        return read_moment(value)
    return None
