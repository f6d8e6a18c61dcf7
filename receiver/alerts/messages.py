"""What a message says: our own words and numbers alone, never a word of a payload, a name or an address. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from receiver.protocol.moments import written
from receiver.queries.conditions import RUNBOOK

TEST = "This is a test of ALERT_URLS. Nothing is wrong."


@dataclass(frozen=True)
class Change:
    """A condition that began, or ended, and that a channel is still to be told of."""

    code: str
    lasts: bool
    since: datetime
    sentence: str


def title(receiver: str, changes: Sequence[Change]) -> str:
    """Which receiver it is, and what happened, by code."""
    began = [change.code for change in changes if change.lasts]
    ended = [change.code for change in changes if not change.lasts]
    parts = [f"needs a person: {', '.join(began)}"] if began else []
    parts += [f"recovered: {', '.join(ended)}"] if ended else []
    return f"{receiver}: {'; '.join(parts)}"


def body(changes: Sequence[Change]) -> str:
    """A paragraph for each change: what it is, since when, and where it is explained."""
    return "\n\n".join(map(_paragraph, changes))


def _paragraph(change: Change) -> str:
    since = f"{written(change.since)}Z"
    if change.lasts:
        return f"{change.code}, since {since}: {change.sentence}\n{RUNBOOK}#{change.code}"
    return f"{change.code} is over since {since}."
