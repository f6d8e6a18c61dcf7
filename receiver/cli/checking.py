"""`events check`: what needs a person, for people and for programs. Each limit of a condition is an option."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import click
from flask.cli import with_appcontext

from receiver.cli.context import Amount, as_json, say, show
from receiver.present import present_inbox
from receiver.queries.conditions import Limits, conditions
from receiver.queries.health import DEFAULT_LIMITS as LIMITS
from receiver.queries.health import health as health_now
from receiver.queries.told import (
    facts_of,
    health_with_alarms,
)

F = TypeVar("F", bound=Callable[..., Any])
NUMBER, LENGTH = click.IntRange(0, 1_000_000), Amount(0, 1_000_000)


def _hours(length: timedelta) -> float:
    return length.total_seconds() / 3600


def _limit(name: str, usual: float, kind: "click.ParamType[Any]", about: str | None = None) -> Callable[[F], F]:
    """An option for a limit of a condition, which the help shows with its usual value."""
    return click.option(name, default=usual, show_default=True, type=kind, help=about)


@click.command("check")
@_limit("--max-dead", LIMITS.dead, NUMBER)
@_limit("--max-quarantined", LIMITS.quarantined, NUMBER, "Within --quarantined-hours.")
@_limit(
    "--quarantined-hours", _hours(LIMITS.quarantined_within), LENGTH, "How many hours back --max-quarantined looks."
)
@_limit("--max-failing", LIMITS.failing, NUMBER, "Events that fail and will be tried again.")
@_limit(
    "--max-failing-minutes", 60 * _hours(LIMITS.failing_for), LENGTH, "How long the first of them has been failing."
)
@_limit(
    "--max-waiting-hours", _hours(LIMITS.waiting_for), LENGTH, "How long a handler has put an event off (RetryLater)."
)
@_limit("--max-due-seconds", 3600 * _hours(LIMITS.due_for), LENGTH, "Age of the oldest due event.")
@click.option(
    "--max-silence-hours",
    type=LENGTH,
    help="Hours without any delivery, even before the first. 0 turns it off. Default: 24, after the first.",
)
@_limit("--max-rejected", LIMITS.rejected, NUMBER, "Answers 401 within ten minutes, and as many other refusals.")
@_limit("--max-wrong-paths", LIMITS.wrong_paths, NUMBER, "POSTs within an hour to paths that look like the webhook's.")
@_limit(
    "--min-free-percent",
    LIMITS.disk_percent,
    Amount(0, 100),
    "Of SQLite's disk. It is short with less than this and less than --min-free-gb.",
)
@_limit("--min-free-gb", LIMITS.disk_bytes / 1024**3, LENGTH, "Of SQLite's disk.")
@_limit("--max-paused-hours", _hours(LIMITS.paused_for), LENGTH, "How long a pause may last.")
@_limit(
    "--secret-days",
    _hours(LIMITS.secret_unused_for) / 24,
    LENGTH,
    "How long one of several webhook secrets may be unused.",
)
@as_json
@with_appcontext
def check(as_json: bool, **options: Any) -> None:
    """Exit with 1 when a person should look (§6.4), and say why. For cron and monitors. Overview shows the same."""
    limits = _limits(**options)
    health = health_now(present_inbox(), limits)
    found, settings = conditions(health, limits), present_inbox().settings
    if as_json:
        show(health_with_alarms(health, found, settings), as_json=True)
    else:
        for condition in found:
            say(f"{condition.code}: {condition.text}")
        show({"ok": not found} | facts_of(health, settings), as_json=False)
    if found:
        raise SystemExit(1)


def _limits(
    *,
    max_dead: int,
    max_quarantined: int,
    quarantined_hours: float,
    max_failing: int,
    max_failing_minutes: float,
    max_waiting_hours: float,
    max_due_seconds: float,
    max_silence_hours: float | None,
    max_rejected: int,
    max_wrong_paths: int,
    min_free_percent: float,
    min_free_gb: float,
    max_paused_hours: float,
    secret_days: float,
) -> Limits:
    silence = LIMITS.silence if max_silence_hours is None else timedelta(hours=max_silence_hours) or None
    return Limits(
        dead=max_dead,
        quarantined=max_quarantined,
        quarantined_within=timedelta(hours=quarantined_hours),
        failing=max_failing,
        failing_for=timedelta(minutes=max_failing_minutes),
        waiting_for=timedelta(hours=max_waiting_hours),
        due_for=timedelta(seconds=max_due_seconds),
        silence=silence,
        first_delivery_expected=bool(max_silence_hours),
        rejected=max_rejected,
        wrong_paths=max_wrong_paths,
        disk_percent=min_free_percent,
        disk_bytes=int(min_free_gb * 1024**3),
        paused_for=timedelta(hours=max_paused_hours),
        secret_unused_for=timedelta(days=secret_days),
    )


COMMANDS = (check,)
