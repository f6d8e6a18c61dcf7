"""What programs are told of an event, an audit row, a failure or the health: in the JSON API, by `--json`, in exports.

One thing has one shape everywhere, and is masked as on the pages. To tell more of an event or an audit row, add its
column to `EVENT` or `AUDIT`. The contract takes it from there, but for what `Shown` works out.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from receiver.config import Settings
from receiver.privacy.columns import Showing
from receiver.queries.audit_trail import Trail
from receiver.queries.conditions import Condition, Health
from receiver.queries.failures import Failures, Group
from receiver.queries.search import Row
from receiver.queries.unusable import look_at
from receiver.store.lifecycle import EVERY
from receiver.store.masked import visible_payload
from receiver.store.models import StoredEvent
from receiver.store.shown import WORDS, Shown, shown, shown_part

Told = dict[str, Any]
EVENT = (
    "event_id", "event_type", "state", "received_at", "occurred_at", "transaction_id", "policy_id", "claim_id",
    "reported_status", "attempts", "deliveries", "id_reused", "quarantine_reason", "stated_event_id",
    "due_at", "failing_since", "last_error", "handler", "cause", "id", "caused_by",
)  # fmt: skip
AUDIT = (
    "event_id", "at", "event_type", "result", "action", "occurrences", "actor", "request_id", "duration_ms", "detail",
    "recorded_at",
)  # fmt: skip

SCOPES = {
    "events:read": "Events, and one event with its masked payload and what happened to it.",
    "audit:read": "The audit log.",
    "health:read": "The health, and what needs a person.",
    "failures:read": "Failures by their cause.",
}
"""What a token of the API may read, by the scope."""


def columns_of(row: Shown, columns: Sequence[str]) -> Told:
    """These columns of a row. Of a bad row, the words that say so."""
    return shown_part("row", lambda: {column: getattr(row, column) for column in columns}) or {"error": WORDS}


def event_with_everything(settings: Settings, row: StoredEvent, trail: Trail, follow_ups: Sequence[Row]) -> Told:
    """One event: its columns, its masked payload, what happened to it, and what its handler asked for."""
    payload = shown_part("masked payload", lambda: [visible_payload(settings, row)])
    told = columns_of(shown(row, settings.showing), EVENT) | {
        "masked_payload": payload[0] if payload else WORDS,
        "audit": [columns_of(shown(entry, settings.showing), AUDIT) for entry in trail],
        "audit_left_out": trail.left_out,
        "follow_ups": [columns_of(shown(one, settings.showing), EVENT) for one in follow_ups],
    }
    unusable = look_at(settings, row)
    return told | asdict(unusable) if unusable else told


def failures_by_cause(found: Failures, since: Any, showing: Showing) -> Told:
    """The groups of failures. A cause is new if it was first seen at `since` or later."""
    return {"since": since, "capped": found.capped, "failures": [_group(group, showing) for group in found.groups]}


def health_with_alarms(health: Health, found: Sequence[Condition], settings: Settings) -> Told:
    """The facts of a moment, and what needs a person."""
    alarms = {"alarms": [one.text for one in found], "codes": [one.code for one in found]}
    return {"ok": not found} | alarms | facts_of(health, settings)


def facts_of(health: Health, settings: Settings) -> Told:
    """The facts: numbers as numbers, and beside them which of them are only a minimum."""
    facts = asdict(health)
    facts["counts"] = {state.value: count.number for state, count in health.counts.items()}
    facts["quarantined"] = {reason: count.number for reason, count in health.quarantined.items()}
    if health.connections:
        facts["connections"] = health.connections._asdict()
    facts["disk"] = health.disk._asdict()
    facts["new_types"] = {"names": health.new_types.names, "events": health.new_types.events.number}
    facts["secrets"] = [secret._asdict() for secret in health.secrets]
    facts["weaknesses"], showing = [weakness.text for weakness in settings.weaknesses], settings.showing
    facts["counted_no_further"] = [state.value for state, count in health.counts.items() if count.capped]
    facts["paused"] = [
        {
            "event_type": EVERY if pause.is_of_all else showing(pause.event_type),
            "since": pause.since,
            "by": pause.by,
            "reason": pause.reason,
            "waiting": pause.waiting.number,
        }
        for pause in health.paused
    ]
    for name, failing in (("failing", health.failing), ("waiting", health.waiting)):
        facts[name] = {"count": failing.count.number, "since": failing.since, "error": failing.error}
    return facts


def _group(group: Group, showing: Showing) -> Told:
    sample = shown(group.sample, showing)
    return {
        "cause": group.cause,
        "count": group.count,
        "by_state": {state.value: number for state, number in group.by_state.items()},
        "first_seen": group.first_seen,
        "last_seen": group.last_seen,
        "new": group.is_new,
        "event_type": sample.event_type,
        "error": sample.last_error,
        "sample": sample.name,
        "sample_id": sample.id,
    }
