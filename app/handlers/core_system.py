"""Your core system hears of each payment, over HTTP. It is off until CORE_SYSTEM_URL is set.

    CORE_SYSTEM_URL=https://core.your-company.example/payments
    CORE_SYSTEM_TOKEN=…                                    sent as bearer token

The header Idempotency-Key tells it which call it has had already. When it is down, calls stop for a minute and are put
off; no attempt is charged for that.
"""

import json
import os
import time
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from receiver import Event, PermanentFailure, RetryLater, follows_up

TIMEOUT_SECONDS = 10
FAILURES, PAUSE_SECONDS = 5, 60
"""After so many failures in a row, nothing is called for so long."""
_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_DONE_BEFORE = HTTPStatus.CONFLICT


class _NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: following it would drop the body, and pass the token on to another host."""

    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        """Nothing follows."""


_opener = build_opener(_NoRedirects)


class Circuit:
    """Whether calls are made at the moment, in this process."""

    def __init__(self) -> None:
        self.failures, self.closed_until = 0, 0.0

    def check(self) -> None:
        """Raises RetryLater during a pause."""
        seconds = self.closed_until - time.monotonic()
        if seconds > 0:
            raise RetryLater(max(1, seconds), "the core system is down")

    def note(self, *, success: bool) -> None:
        """Count a call. Too many failures in a row begin a pause."""
        self.failures = 0 if success else self.failures + 1
        if self.failures >= FAILURES:
            self.failures, self.closed_until = 0, time.monotonic() + PAUSE_SECONDS


circuit = Circuit()


def is_on() -> bool:
    """Whether the core system is told."""
    return bool(os.environ.get("CORE_SYSTEM_URL"))


@follows_up("core.payment")
def tell_core_system(event: Event) -> None:
    """Call it. The idempotency key is the follow-up's ID."""
    circuit.check()
    try:
        _opener.open(_request(event), timeout=TIMEOUT_SECONDS).close()
    except HTTPError as error:
        error.close()
        _judge(error)
    except (OSError, HTTPException):
        circuit.note(success=False)
        raise
    circuit.note(success=True)


def _request(event: Event) -> Request:
    told = {"transaction_id": event.transaction_id, **event.data}
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": event.id,
        "Authorization": f"Bearer {os.environ.get('CORE_SYSTEM_TOKEN', '')}",
    }
    return Request(os.environ["CORE_SYSTEM_URL"], json.dumps(told).encode(), headers)  # noqa: S310 - our own address


def _judge(error: HTTPError) -> None:
    """Raises what the answer means."""
    if error.code == _DONE_BEFORE:
        return
    if error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in _BUSY:
        raise PermanentFailure(f"the core system answered {error.code}") from error
    circuit.note(success=False)
    wait = error.headers.get("Retry-After", "")
    if wait.isdecimal() and int(wait):
        raise RetryLater(min(int(wait), 3600), "the core system is busy") from error
    raise error
