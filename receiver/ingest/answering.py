"""Fourth step at the door: the answer to a receipt. What is not acknowledged is a problem document (RFC 9457)."""

import json
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

from werkzeug.exceptions import HTTPException

from receiver.ingest.receipts import ACKNOWLEDGED, REJECTED, Receipt
from receiver.problem import PROBLEM, RETRY_AFTER_SECONDS, UNEXPECTED_ERROR, problem_text


class Reply(NamedTuple):
    """What the sender hears."""

    status: int
    body: str
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


UNAUTHORIZED = Reply(401, problem_text(401, "Unauthorized", "The delivery could not be authenticated."), PROBLEM)
"""The same for every cause."""
UNAVAILABLE = Reply(
    503,
    problem_text(503, "Service Unavailable", "The event could not be stored. Please retry."),
    PROBLEM,
    (("Retry-After", RETRY_AFTER_SECONDS),),
)
"""It was not committed in time: the sender shall come again (§6.1)."""
UNEXPECTED = Reply(500, problem_text(500, *UNEXPECTED_ERROR), PROBLEM)


def answer(receipt: Receipt) -> Reply:
    """What the sender hears of its delivery."""
    if receipt.result in ACKNOWLEDGED:
        if receipt.event_id is None:
            return Reply(200, json.dumps(_acknowledged(receipt)))
        return Reply(200, f'{{"status": "{receipt.result}", "event_id": {encode_basestring_ascii(receipt.event_id)}}}')
    return UNAUTHORIZED if receipt.result == REJECTED else UNAVAILABLE


def _acknowledged(receipt: Receipt) -> dict[str, Any]:
    if receipt.events:
        return {"status": receipt.result, "events": [_acknowledged(event) for event in receipt.events]}
    about: dict[str, Any] = {"event_id": receipt.event_id} if receipt.errors is None else {"errors": receipt.errors}
    return {"status": receipt.result, **about}


def refusal(error: HTTPException) -> Reply:
    """What the sender hears of a delivery that is refused unread."""
    status = error.code or 500
    headers = tuple((name, value) for name, value in error.get_headers() if name.lower() == "retry-after")
    return Reply(status, problem_text(status, error.name, error.description or error.name), PROBLEM, headers)
