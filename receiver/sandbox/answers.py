"""The results of deliveries, for people and for programs: one by one, and summed up by answer.

The text of an answer comes from outside: `outcome()` makes it fit for one line of a terminal.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from receiver.percentile import percentile
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.forms import parse_form
from receiver.protocol.json_body import at, parse_object
from receiver.sandbox.sender import Answer

LONGEST_OUTCOME = 40


@dataclass(frozen=True)
class Delivered:
    """One delivery and its answer. Type and ID are `-` if the body does not have them."""

    event_type: str
    event_id: str
    status: int
    outcome: str
    milliseconds: float


@dataclass(frozen=True)
class Answers:
    """All deliveries with the same answer. Latencies are in milliseconds."""

    status: int
    outcome: str
    count: int
    p50: float
    p99: float
    max: float


def delivered(body: bytes, fields: Mapping[str, str], answer: Answer) -> Delivered:
    """The delivery of this body; `fields` says where its envelope fields are."""
    payload: dict[str, Any] = {}
    for parse in (parse_object, parse_form):
        with suppress(UnusablePayload):
            payload = payload or parse(body)
    event_type, event_id = (_shown(at(payload, fields[name])) for name in ("event_type", "event_id"))
    return Delivered(event_type, event_id, answer.status, outcome(answer), round(answer.seconds * 1000, 1))


def outcome(answer: Answer) -> str:
    """The word in the answer for what the receiver did: `accepted`, `duplicate`, `Unauthorized`."""
    if not answer.status:
        return answer.text
    document = _document(answer)
    for word in (document.get("status"), document.get("title")):
        if isinstance(word, str) and word:
            return _shown(word)[:LONGEST_OUTCOME]
    return HTTPStatus(answer.status).phrase if answer.status in set(HTTPStatus) else "-"


def summed_up(deliveries: Sequence[Delivered]) -> list[Answers]:
    """The answers by status and outcome, the most frequent first."""
    groups: dict[tuple[int, str], list[float]] = {}
    for delivery in deliveries:
        groups.setdefault((delivery.status, delivery.outcome), []).append(delivery.milliseconds)
    rows = []
    for (status, word), times in sorted(groups.items(), key=lambda group: -len(group[1])):
        counts = Counter(times)
        rows.append(Answers(status, word, len(times), percentile(counts, 50), percentile(counts, 99), max(times)))
    return rows


def _document(answer: Answer) -> dict[str, Any]:
    try:
        document = json.loads(answer.text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, str | int) and value != "" else "-"
    return "".join(c if c.isprintable() else "?" for c in text)
