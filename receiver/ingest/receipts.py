"""What became of a delivery: what the third step at the door hands to the fourth."""

from collections.abc import Sequence
from typing import NamedTuple

ACCEPTED, DUPLICATE, QUARANTINED = "accepted", "duplicate", "quarantined"
REJECTED = "rejected"
ACKNOWLEDGED = frozenset({ACCEPTED, DUPLICATE, QUARANTINED})
"""Results that are answered 200."""
Errors = dict[str, list[str]]


class Receipt(NamedTuple):
    """The result, and what is known of the event. `reason` is a stable code, of a rejection."""

    result: str
    event_id: str | None = None
    event_type: str | None = None
    errors: Errors | None = None
    reason: str = ""
    events: "tuple[Receipt, ...]" = ()  # of a delivery with several


_BEST_FIRST = (ACCEPTED, DUPLICATE, QUARANTINED, REJECTED)


def of_several(receipts: Sequence[Receipt]) -> Receipt:
    """The receipt of a delivery with several events: its result is the best one of theirs."""
    best = min(receipts, key=lambda receipt: _BEST_FIRST.index(receipt.result))
    return Receipt(best.result, reason=best.reason, events=tuple(receipts))


NOT_STORED = Receipt("not stored")
"""It was not committed in time, or nothing may be stored in this database."""
