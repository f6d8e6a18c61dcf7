"""Signs and POSTs a payload the way Senang.io would. The tests and `senang trigger` share it."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import Any
from uuid import uuid4

from app.clock import Clock
from app.protocol.schemes import SignatureScheme
from app.protocol.signatures import Signed, sign

Post = Callable[[str, bytes, Mapping[str, str]], "Answer"]


@dataclass(frozen=True)
class Answer:
    """What the receiver said. Status 0 means that nobody answered."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> dict[str, Any]:
        """The answer's document."""
        return dict(json.loads(self.text))


def post_over_http(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """One POST over the network."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("the receiver's address must be an http(s) URL")
    request = urllib.request.Request(url, body, dict(headers), method="POST")  # noqa: S310 - checked above
    try:
        with _open(request) as response:
            return Answer(response.status, response.read().decode(), dict(response.headers))
    except (OSError, HTTPException) as error:  # HTTPException: it went away in the middle of its answer
        return Answer(0, f"no answer: {type(error).__name__}", {})


def _open(request: urllib.request.Request) -> Any:
    """The answer, whatever its status."""
    try:
        return urllib.request.urlopen(request, timeout=10)  # noqa: S310 - checked by the caller
    except urllib.error.HTTPError as error:
        return error


@dataclass
class Sender:
    """A sender with one secret."""

    url: str
    scheme: SignatureScheme
    key: bytes
    clock: Clock
    post: Post = post_over_http

    def deliver(self, payload: object) -> Answer:
        """Sign the payload and send it once. Bytes are sent as they are."""
        signed = self.signed(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
        return self.post(self.url, signed.body, signed.headers)

    def signed(self, body: bytes) -> Signed:
        """What goes out: signed now, under a message ID of its own."""
        signed = sign(
            body,
            scheme=self.scheme,
            key=self.key,
            message_id=f"msg_{uuid4().hex}",
            timestamp=self.clock.now(),
        )
        return replace(signed, headers={"Content-Type": "application/json", **signed.headers})

    def deliver_until_accepted(
        self, payload: object, *, attempts: int = 5, wait: Callable[[float], None] = time.sleep
    ) -> Answer:
        """Retry at increasing intervals until a 2xx or the last attempt (§6.1, §6.2)."""
        answer = self.deliver(payload)
        for retry in range(1, attempts):
            if 200 <= answer.status < 300:
                break
            wait(0.1 * 2**retry)
            answer = self.deliver(payload)
        return answer
