"""How moments and states are put into words on the pages. To add a filter, add it in `init_app()`."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from flask import Flask

from receiver.actions.support import in_both_zones
from receiver.present import present_inbox
from receiver.privacy.errors import what_and_where
from receiver.protocol.moments import written
from receiver.store.lifecycle import State
from receiver.store.models import HANDLER_BUCKETS

NAME = "Senang.io receiver"
ICONS = {
    State.PENDING: "◷",
    State.PROCESSED: "✓",
    State.DEAD: "✕",
    State.UNHANDLED: "○",
    State.QUARANTINED: "⚠",
    State.DISMISSED: "–",
}


def ago(moment: datetime, now: datetime) -> str:
    """Such as `5 minutes ago` or `in 2 hours`: rounded down to the largest unit that fits."""
    passed = now - moment
    words = _amount(abs(passed))
    if words == "now":
        return "just now"
    return f"{words} ago" if passed > timedelta() else f"in {words}"


def icon(state: str) -> str:
    """The sign beside the name of a state, so that its colour is never the only difference."""
    return ICONS.get(State(state), "") if state in set(State) else ""


def for_input(moment: datetime | None) -> str:
    """The moment as a form's field takes it: UTC, to the minute."""
    return moment.replace(tzinfo=None).isoformat(timespec="minutes") if moment else ""


def at_most(milliseconds: float) -> str:
    """The upper bound of a duration: `≤ 5 ms`, or what is beyond the last bucket."""
    if math.isinf(milliseconds):
        return f"> {HANDLER_BUCKETS[-1] // 1000} s"
    return f"≤ {milliseconds:g} ms" if milliseconds < 1000 else f"≤ {milliseconds / 1000:g} s"


def without(parameters: Mapping[str, object], name: str) -> dict[str, object]:
    """The parameters of an address without one of them."""
    return {known: value for known, value in parameters.items() if known != name}


def init_app(app: Flask) -> None:
    """Give the templates their filters, the receiver's name, and the badge of the environment (§8.3)."""
    app.jinja_env.tests |= {
        "moment": lambda value: isinstance(value, datetime) and value.tzinfo is not None,
        "several": lambda value: isinstance(value, list | tuple | set | frozenset),
    }
    app.jinja_env.filters |= {
        "both_zones": in_both_zones,
        "what_and_where": what_and_where,
        "written": written,
        "icon": icon,
        "without": without,
        "for_input": for_input,
        "at_most": at_most,
        "ago": lambda moment: ago(moment, present_inbox().clock.now()),
    }

    @app.context_processor
    def badges() -> dict[str, str]:
        settings = present_inbox().settings
        return {"environment": settings.environment, "receiver_name": settings.name or NAME}


def _amount(length: timedelta) -> str:
    for unit, seconds in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if number := int(length.total_seconds() // seconds):
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return "now"
