"""Where alerts go, and how one message gets there: by apprise, or for the heartbeat by a plain GET.

apprise is imported at the moment that sends, in a process that ends soon (receiver/alerts/starting.py): neither web
processes nor workers pay its memory. An address can hold a password, so nobody is shown one. A channel is called by its
place in ALERT_URLS and its scheme, such as `2 (mailto)`.

To add a way of sending, add a kind here.
"""

import logging
import re
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import Any
from urllib.error import HTTPError

from receiver.config import Settings
from receiver.privacy.masking import mask_text
from receiver.privacy.sealing import body_digest

HEARTBEAT = "heartbeat"
SEND_SECONDS = 20.0
"""A channel that takes longer has failed."""
HEARTBEAT_SECONDS = 10.0
_NOT_SENT = "failed"


@dataclass(frozen=True)
class Channel:
    """One address. Its `key` in the database is a keyed digest, so a copy of the database tells nobody the address."""

    key: str
    name: str
    url: str
    is_heartbeat: bool = False


@dataclass(frozen=True)
class Answer:
    """What became of a message: a reason code when it did not arrive, and apprise's own words, for a terminal."""

    reason: str = ""
    words: str = ""


def channels_of(settings: Settings) -> tuple[Channel, ...]:
    """The channels that the settings name, or none where nothing may be sent."""
    if not settings.sends_alerts:
        return ()
    numbered = enumerate(settings.alert_urls, 1)
    found = [_channel(settings, f"{number} ({url.partition('://')[0].lower()})", url) for number, url in numbered]
    if settings.alert_heartbeat_url:
        found.append(_channel(settings, HEARTBEAT, settings.alert_heartbeat_url, is_heartbeat=True))
    return tuple({channel.key: channel for channel in found}.values())


def _channel(settings: Settings, name: str, url: str, *, is_heartbeat: bool = False) -> Channel:
    kind = HEARTBEAT if is_heartbeat else "alert"
    return Channel(body_digest(f"{kind}: {url}".encode(), settings.payload_keys), name, url, is_heartbeat)


def send(channel: Channel, title: str, body: str) -> Answer:
    """Send one message. It never raises, and never takes longer than SEND_SECONDS."""
    if channel.is_heartbeat:
        return _within(lambda: _ping(channel.url))
    return _within(lambda: _through_apprise(channel.url, title, body))


def _within(do: Callable[[], Answer]) -> Answer:
    """A channel that hangs is left alone in its thread, which ends with the process."""
    answers = list[Answer]()
    thread = Thread(target=lambda: answers.append(_safely(do)), daemon=True)
    thread.start()
    thread.join(SEND_SECONDS)
    return answers[0] if answers else Answer("timed_out")


def _safely(do: Callable[[], Answer]) -> Answer:
    try:
        return do()
    except Exception as error:
        return Answer(_NOT_SENT, type(error).__name__)


def _ping(url: str) -> Answer:
    try:
        with urllib.request.urlopen(url, timeout=HEARTBEAT_SECONDS):  # noqa: S310 - http and https alone: see values.py
            return Answer()
    except HTTPError as error:
        with error:
            return Answer(f"answered {error.code}")


class _Words(logging.Handler):
    """Keeps what apprise says of a failure. Its lines name addresses, so they don't go into our log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines = list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _through_apprise(url: str, title: str, body: str) -> Answer:
    import apprise  # here: the process that sends is the only one that pays for it

    words, log = _Words(), logging.getLogger("apprise")
    log.addHandler(words)
    log.propagate = False
    try:
        asset = apprise.AppriseAsset(app_id="senang", app_desc="receiver", async_mode=False, image_url_mask="")
        post: Any = apprise.Apprise(asset=asset)
        if not post.add(url):
            return Answer("not_understood")
        arrived = post.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)
    finally:
        log.removeHandler(words)
    return Answer() if arrived else _failure(words.lines)


def _failure(lines: list[str]) -> Answer:
    words = lines[-1] if lines else ""
    status = re.search(r"error=(\d{3})\b", words)
    return Answer(f"answered {status[1]}" if status else _NOT_SENT, mask_text(words)[:200])
