"""Where the signature may stand, and how its text may be read: any header, a field of the body, a query parameter.

The strongest and best named come first. To read another form of signature, add it to `_readings()`. What is not the
body's bytes, but is signed with them, is here too: timestamps, message IDs and our address.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from receiver.protocol.schemes import SCHEMES, TIMESTAMP_FORMATS
from receiver.sandbox.doctor.view import View

MOST_IDS = 12
MOST_PLACES = 48
"""How many values of a delivery are tried as its signature. A body can be full of values that look like one."""
LONGEST_SIGNATURE = 2_000
LONGEST_TEXT = 65_536
HMAC_OF_LENGTH = {32: "sha256", 64: "sha512", 48: "sha384", 20: "sha1"}
MD5_BYTES = 16
_PUBLIC_KEY_LENGTHS = (64, 70, 71, 72, 256, 384, 512)
SIGNATURE_NAME = re.compile(r"(?i)sig|hmac|digest|hash|mac|auth|checksum|verif|x-.*-h$|token")
_TAGGED = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,23})([=,: ])(.+)")
_NO_SIGNATURE = re.compile(
    r"(?i)(cookie|host|content-(length|type|encoding)|user-agent|connection|x-forwarded-.*|"
    r"traceparent|tracestate|x-b3-.*|x-amzn-trace-id|x-datadog-.*|sentry-trace|baggage|x-cloud-trace-context|uber-trace-id|if-.*|etag)"
)
_ORDINARY = re.compile(
    r"(?i)(host|content-.*|accept.*|user-agent|connection|x-forwarded-.*|forwarded|via|cache-control|date|pragma|"
    r"authorization|cookie|transfer-encoding|x-real-ip|cf-.*|sec-.*)"
)
_TRACING = re.compile(r"(?i).*(trace|span|b3|datadog|newrelic|correlation|parent).*|baggage")


@dataclass(frozen=True, repr=False)
class Place:
    """A text that could be the signature, and how to read it."""

    axis: str  # header, body_field or query
    name: str
    entry_separator: str
    tag: str
    tag_separator: str
    encoding: str
    digest: bytes

    @property
    def algorithm(self) -> str:
        """The HMAC whose digests have this length, or nothing."""
        return HMAC_OF_LENGTH.get(len(self.digest), "")

    @property
    def body_field(self) -> str:
        """The path of the signature in the body, or nothing."""
        return self.name if self.axis == "body_field" else ""

    @property
    def words(self) -> str:
        """Where it stands, for people."""
        return f"{self.axis.split('_')[-1]} {self.name}"


@dataclass(frozen=True)
class Stamp:
    """A text that could be the signed timestamp."""

    axis: str  # timestamp_header, timestamp_tag or timestamp_field
    name: str
    form: str  # one of TIMESTAMP_FORMATS
    text: str


def texts(view: View) -> Iterator[tuple[str, str, str]]:
    """Every text that may hold a signature: its axis, its name, and itself."""
    for name, value in view.captured.headers:
        if not _NO_SIGNATURE.fullmatch(name):
            yield "header", name, value
    for name, value in view.query.items():
        yield "query", name, value
    for path, value in sorted(view.values.items(), key=lambda field: not SIGNATURE_NAME.search(field[0])):
        if isinstance(value, str) and len(value) <= LONGEST_TEXT:
            yield "body_field", path, value


def places(view: View, *, lengths: tuple[int, ...] = (*HMAC_OF_LENGTH, *_PUBLIC_KEY_LENGTHS)) -> list[Place]:
    """Every text with the shape of a signature. Telling names come first, and strong algorithms before weak ones."""
    found = [
        Place(axis, name, *reading)
        for axis, name, value in texts(view)
        for reading in _readings(value)
        if len(reading[-1]) in lengths
    ]
    found.sort(
        key=lambda place: (not SIGNATURE_NAME.search(place.name), place.algorithm == "sha1", _is_for_tests(place))
    )
    return list(dict.fromkeys(found))[:MOST_PLACES]


def _is_for_tests(place: Place) -> bool:
    return "test" in f"{place.name} {place.tag}".lower()


def stamps(view: View, place: Place) -> list[Stamp]:
    """Every text with the shape of a timestamp: entries beside the signature, then other headers."""
    found = []
    beside = view.captured.header(place.name) if place.axis == "header" and place.entry_separator else ""
    for entry in entries(beside, place.entry_separator):
        tag, separator, text = entry.partition(place.tag_separator or "=")
        if separator and tag != place.tag and (form := timestamp_form(text)):
            found.append(Stamp("timestamp_tag", tag, form, text))
    found += [
        Stamp("timestamp_header", name, form, value)
        for name, value in view.captured.headers
        if name != place.name and (form := timestamp_form(value))
    ]
    return found


def message_ids(view: View, place: Place) -> list[tuple[str, str]]:
    """Headers that could be a message ID. Telling names come first, those of tracing last."""
    found = [
        (name, value)
        for name, value in view.captured.headers
        if name != place.name and not _ORDINARY.fullmatch(name) and re.fullmatch(r"[!-~]{1,200}", value)
    ]
    return sorted(found, key=lambda header: (bool(_TRACING.fullmatch(header[0])), "id" not in header[0].lower()))[
        :MOST_IDS
    ]


def addresses(view: View) -> list[str]:
    """The forms in which a sender may sign our address: whole by HTTPS or HTTP, without scheme, the path alone."""
    url = urlsplit(view.captured.url)
    target = url.path + (f"?{url.query}" if url.query else "")
    hosts = (view.captured.header("x-forwarded-host"), url.netloc, view.captured.header("host"))
    whole = [f"{start}{host}{target}" for host in hosts if host for start in ("https://", "http://", "")]
    return [address for address in dict.fromkeys([view.captured.url, *whole, target]) if address]


def timestamp_form(text: str) -> str | None:
    """Which of TIMESTAMP_FORMATS the text has."""
    if re.fullmatch(r"[1-4][0-9]{9}", text):
        return "seconds"
    if re.fullmatch(r"[1-4][0-9]{12}", text):
        return "milliseconds"
    return "rfc3339" if "T" in text and re.fullmatch(TIMESTAMP_FORMATS["rfc3339"], text) else None


def entries(value: str, separator: str) -> list[str]:
    """The entries of a header."""
    parts = value.split(separator) if separator else [value]
    return [part.strip(" ") for part in parts if part.strip(" ")]


def _readings(value: str) -> Iterator[tuple[str, str, str, str, bytes]]:
    """Every way to read the text as a signature: entry separator, tag, tag separator, encoding and digest."""
    if len(value) > LONGEST_SIGNATURE:
        return
    for separator in ("", ",", " ", ";"):
        parts = entries(value, separator)
        if separator and len(parts) < 2:
            continue
        for entry in parts[:16]:
            if read := _digest(entry):
                yield (separator, "", "", *read)
            elif (tagged := _TAGGED.fullmatch(entry)) and (read := _digest(tagged[3])):
                yield (separator or _customary_separator(tagged[1], tagged[2]), tagged[1], tagged[2], *read)


def _customary_separator(tag: str, tag_separator: str) -> str:
    """The entry separator of the preset that looks like this. One entry alone does not show a separator."""
    alike = (s for s in SCHEMES.values() if (s.tag, s.tag_separator) == (tag, tag_separator) and not s.timestamp_tag)
    return next((scheme.entry_separator for scheme in alike), "")


def _digest(text: str) -> tuple[str, bytes] | None:
    """The encoding and the digest, if the text has the letters of a digest and one of its lengths."""
    if len(text) in (32, 40, 64, 96, 128, 512, 768, 1024) and re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", text):
        return ("hex-upper" if text.upper() == text != text.lower() else "hex"), bytes.fromhex(text)
    if not re.fullmatch(r"[A-Za-z0-9+/_-]+={0,2}", text):
        return None
    name = "base64url" if set(text) & set("-_") else "base64"
    padded = text + "=" * (-len(text) % 4)
    try:
        digest = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        return None
    return (name if padded == text else f"{name}-unpadded"), digest
