"""Rehearses settings on all captures: how many would have been accepted, and what would become of the others."""

from collections import Counter
from collections.abc import Sequence

from receiver.protocol.envelope import fields_from, parse_event, zone_from
from receiver.protocol.errors import InvalidScheme, UnusablePayload
from receiver.sandbox.doctor.envelopes import envelope
from receiver.sandbox.doctor.payload_fields import Reading
from receiver.sandbox.doctor.search import Find, verified
from receiver.sandbox.doctor.view import View

ACCEPTED, DUPLICATE, QUARANTINED = "accepted", "duplicates", "quarantined"
LATE, REFUSED = "refused as too old or too new", "refused, since their signature is not right"
OTHER_OUTCOMES = (DUPLICATE, QUARANTINED, LATE, REFUSED)


def rehearse(views: Sequence[View], find: Find, secret: str, reading: Reading) -> str:
    """One sentence, such as: under these settings 18 of 20 captures would have been accepted; duplicates: 2."""
    counts, seen = Counter[str](), set[str]()
    for view in views:
        counts[_outcome(view, find, secret, reading, seen)] += 1
    head = f"Under these settings {counts[ACCEPTED]} of {len(views)} captures would have been accepted"
    others = [f"{name}: {counts[name]}" for name in OTHER_OUTCOMES if counts[name]]
    return "; ".join([head, *others]) + "."


def _outcome(view: View, find: Find, secret: str, reading: Reading, seen: set[str]) -> str:
    received_at = view.captured.received_at
    if not verified(view.captured, find.scheme, secret):
        return REFUSED
    if received_at and not verified(view.captured, find.scheme, secret, now=received_at):
        return LATE
    held = envelope([view], find, secret)
    if held is None:
        return QUARANTINED
    try:
        mapping = fields_from(reading.setting(), find.scheme)
        zone = zone_from(reading.zone)
        ids = {parse_event(d.body, mapping, zone, beside=d.beside).id for delivery in held.deliveries for d in delivery}
    except (UnusablePayload, InvalidScheme):
        return QUARANTINED
    is_known = ids <= seen
    seen |= ids
    return DUPLICATE if is_known else ACCEPTED
