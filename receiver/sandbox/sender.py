"""Signs and POSTs a payload the way Senang.io would. The tests and the `senang` commands share it.

An answer is what the address itself said. A redirect is an answer too and is not followed: a redirected POST arrives
as a GET somewhere else, and the 200 from there says nothing about the delivery.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from receiver.clock import Clock
from receiver.protocol.json_body import to_json
from receiver.protocol.schemes import SignatureScheme
from receiver.protocol.signatures import Signed, sign
from receiver.sandbox.loopback import opener_for

MOST_ANSWER_BYTES = 65_536
CONTENT_TYPES = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
Post = Callable[[str, bytes, Mapping[str, str]], "Answer"]


@dataclass(frozen=True)
class Answer:
    """What the receiver answered, and how long it took. Status 0 means that there was no answer."""

    status: int
    text: str
    headers: Mapping[str, str]
    seconds: float = 0.0

    @property
    def json(self) -> dict[str, Any]:
        """The JSON document of the answer."""
        return dict(json.loads(self.text))

    @property
    def accepted(self) -> bool:
        """Whether the receiver accepted the delivery: any 2xx."""
        return 200 <= self.status < 300


def check_address(url: str) -> str:
    """The receiver's address as it was given. Raises ValueError, which says what is wrong with it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("the receiver's address must be an http(s) URL")
    if "@" in parts.netloc:
        raise ValueError("the receiver's address can't hold a user or a password")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("the receiver's address must be plain ASCII without spaces")
    return url


def post_over_http(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """One POST over the network."""
    request = urllib.request.Request(check_address(url), body, dict(headers), method="POST")  # noqa: S310 - checked
    started = time.monotonic()
    try:
        with _open(request) as response:
            text = response.read(MOST_ANSWER_BYTES).decode(errors="replace")
            return Answer(response.status, text, dict(response.headers), time.monotonic() - started)
    except (OSError, HTTPException) as error:  # HTTPException: the receiver went away in the middle of its answer
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        name = type(cause if isinstance(cause, Exception) else error).__name__
        return Answer(0, f"no answer: {name}", {}, time.monotonic() - started)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        """Follow no redirect."""


@lru_cache
def _opener(origin: str) -> urllib.request.OpenerDirector:
    return opener_for(origin, _NoRedirects)


def _open(request: urllib.request.Request) -> Any:
    """The answer, whatever its status."""
    try:
        return _opener(f"{request.type}://{request.host}").open(request, timeout=10)
    except urllib.error.HTTPError as error:
        return error


@dataclass(repr=False)
class Sender:
    """A sender with one secret. Its repr hides the secret."""

    url: str
    scheme: SignatureScheme
    key: bytes
    clock: Clock
    post: Post = post_over_http

    def deliver(self, payload: object) -> Answer:
        """Sign the payload and send it once. Bytes are sent unchanged."""
        signed = self.signed(payload if isinstance(payload, bytes) else to_json(payload).encode())
        return self.post(self.url, signed.body, signed.headers)

    def signed(self, body: bytes) -> Signed:
        """The signed delivery: signed now, with a message ID of its own."""
        signed = sign(
            body,
            scheme=self.scheme,
            key=self.key,
            message_id=f"msg_{uuid4().hex}",
            timestamp=self.clock.now(),
        )
        return replace(signed, headers={"Content-Type": CONTENT_TYPES[self.scheme.body_format], **signed.headers})

    def deliver_until_accepted(
        self, payload: object, *, attempts: int = 5, wait: Callable[[float], None] = time.sleep
    ) -> Answer:
        """Retry at increasing intervals until a 2xx or the last attempt (§6.1, §6.2)."""
        answer = self.deliver(payload)
        for retry in range(1, attempts):
            if answer.accepted:
                break
            wait(0.1 * 2 ** min(retry, 10))
            answer = self.deliver(payload)
        return answer
