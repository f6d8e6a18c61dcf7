"""`events`: the commands that show, replay, dismiss, pause, check, erase, reseal and remask events.

Those for one person's data are in person.py.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import click

from receiver.actions import pause as pausing
from receiver.actions.bulk import LEFT_ALONE, Act, left_alone_by
from receiver.actions.dismiss import CannotDismiss, Dismissed
from receiver.actions.dismiss import dismiss as dismiss_event
from receiver.actions.replay import CannotReplay, Replayed
from receiver.actions.replay import replay as replay_event
from receiver.actions.reveal import reveal as reveal_column
from receiver.actions.support import request_for_event, request_for_time
from receiver.cli import person
from receiver.cli.context import Amount, Commands, acting_inbox, as_json, say, show
from receiver.database.engine import reading
from receiver.maintenance import retention, rewrite
from receiver.present import present_inbox
from receiver.privacy.escaping import one_line
from receiver.protocol.json_body import to_json
from receiver.protocol.moments import written
from receiver.queries.audit_trail import audit_trail, find_event
from receiver.queries.conditions import Limits, conditions
from receiver.queries.failures import failures as failures_now
from receiver.queries.failures import workers_began
from receiver.queries.filters import BadFilter, Filter, Origin, fits_a_column
from receiver.queries.health import DEFAULT_LIMITS as LIMITS
from receiver.queries.health import health as health_now
from receiver.queries.search import PAGE, Row, follow_ups_of, stream
from receiver.queries.told import (
    EVENT,
    columns_of,
    event_with_everything,
    facts_of,
    failures_by_cause,
    health_with_alarms,
)
from receiver.queries.workers import WORKER_SILENCE
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import DISMISSABLE, EVERY, REPLAYABLE, State
from receiver.store.models import StoredEvent
from receiver.store.shown import CHOSEN, Shown, shown

ACTOR = "command line"
NUMBER, LENGTH = click.IntRange(0, 1_000_000), Amount(0, 1_000_000)
events = Commands("events", help="Show, replay, dismiss and check events, and apply retention, new keys and new masks.")

for command in person.COMMANDS:
    events.add_command(command)


def _hours(length: timedelta) -> float:
    return length.total_seconds() / 3600


@events.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]))
@click.option("--failing", is_flag=True, help="Only pending events whose last attempt failed or asked to run later.")
@click.option("--type", "event_type")
@click.option("--cause", help="Only failures of this cause, as `events failures` names it.")
@click.option("--attempts", type=click.IntRange(1, 1_000_000), help="Only events that had so many attempts or more.")
@click.option("--origin", type=click.Choice(list(Origin)), help="Only what was delivered, or only follow-ups.")
@click.option("--limit", default=PAGE, show_default=True, type=click.IntRange(1, 10_000))
@as_json
def list_(
    state: str | None,
    failing: bool,
    event_type: str | None,
    cause: str | None,
    attempts: int | None,
    origin: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List events, the newest first."""
    if failing and state not in (None, State.PENDING):
        raise click.UsageError("A failing event is always pending.")
    wanted = _filter(state, event_type, failing=failing, cause=cause, attempts=attempts, origin=origin)
    rows = islice(stream(present_inbox().engine, wanted), limit)
    if as_json:
        click.echo(to_json([columns_of(row, EVENT) for row in _shown(rows)]))
        return
    for row in _shown(rows):
        line = f"{written(row.received_at)}Z  {row.state:<11}  {row.event_type or '-':<18}  {row.command_name}"
        error = row.last_error and one_line(row.last_error)
        say(f"{line}  {'failing' if row.is_failing else 'error'}: {error}" if error else line)


@events.command("show")
@click.argument("reference")
@as_json
def show_(reference: str, as_json: bool) -> None:
    """Show one event, by its ID or by # and its number: envelope, masked payload and audit trail."""
    inbox = present_inbox()
    with reading(inbox.engine) as session:
        row = _found(find_event(session, reference))
        trail, asked = audit_trail(session, row), follow_ups_of(session, row.id)
    told = event_with_everything(inbox.settings, row, trail, asked)
    if not as_json:
        lines = trail.shown(inbox.settings.showing).lines(
            lambda e: f"{written(e.at)}Z {e.action} {e.result}" + (f" ({e.detail})" if e.detail else "")
        )
        told |= {"audit": lines, "follow_ups": [one["event_id"] for one in told["follow_ups"]]}
        del told["audit_left_out"]  # a line says it
    show(told, as_json=as_json)


@events.command("replay")
@click.argument("reference", required=False)
@click.option("--state", type=click.Choice([state.value for state in sorted(REPLAYABLE)]))
@click.option("--failing", is_flag=True, help="Try failing events at once, without a wait for their next attempt.")
@click.option("--type", "event_type")
@click.option("--cause", help="Every failure of this cause, as `events failures` names it.")
@click.option("--reason")
def replay(
    reference: str | None,
    state: str | None,
    failing: bool,
    event_type: str | None,
    cause: str | None,
    reason: str | None,
) -> None:
    """Make one event due again, or all events of a --state, --failing or --cause (and of a --type).

    What waits runs now.
    """
    if [reference is not None, state is not None, failing, cause is not None].count(True) != 1:
        raise click.UsageError("Give either an event, or a --state, or --failing, or a --cause.")
    inbox = acting_inbox()

    def act(row: Row | StoredEvent) -> tuple[str, bool]:
        result = replay_event(inbox, row.id, actor=ACTOR, reason=reason)
        return result, result is Replayed.DUE

    wanted = _filter(state, event_type, failing=failing, cause=cause)
    _act(inbox, Act.REPLAY, "replayed", act, reference, wanted)


@events.command("dismiss")
@click.argument("reference", required=False)
@click.option("--state", type=click.Choice([state.value for state in sorted(DISMISSABLE)]))
@click.option("--type", "event_type")
@click.option("--cause", help="Every dead or quarantined event of this cause, as `events failures` names it.")
@click.option("--reason", required=True, help="Why. The audit log keeps it.")
def dismiss(reference: str | None, state: str | None, event_type: str | None, cause: str | None, reason: str) -> None:
    """Close one event that is dead, unhandled or quarantined, or all of a --state or --cause (and of a --type)."""
    if [reference is not None, state is not None, cause is not None].count(True) != 1:
        raise click.UsageError("Give either an event, or a --state, or a --cause.")
    if not reason.strip():
        raise click.UsageError("The reason is empty.")
    inbox = acting_inbox()

    def act(row: Row | StoredEvent) -> tuple[str, bool]:
        result = dismiss_event(inbox, row.id, actor=ACTOR, reason=reason)
        return result, result is Dismissed.DONE

    wanted = _filter(state, event_type, failing=False, cause=cause)
    _act(inbox, Act.DISMISS, "dismissed", act, reference, wanted)


@events.command("reveal")
@click.argument("reference")
@click.argument("column", type=click.Choice(CHOSEN))
def reveal(reference: str, column: str) -> None:
    """Print one hidden column of one event in clear text. The audit log says that it was asked for."""
    inbox = acting_inbox()
    with reading(inbox.engine) as session:
        row = _found(find_event(session, reference))
    value = reveal_column(inbox, row.id, column, actor=ACTOR)
    if value is None:
        raise click.ClickException(f"The event has no {column}.")
    say(value)


@events.command("support")
@click.argument("reference", required=False)
@click.option("--since", type=click.DateTime(), help="For refused deliveries: the begin of the time, in UTC.")
@click.option("--until", type=click.DateTime(), help="The end of the time, in UTC. Default: now.")
def support(reference: str | None, since: datetime | None, until: datetime | None) -> None:
    """Print the text of a support request (§12.2), for one event or for a time in which deliveries were refused."""
    inbox = present_inbox()
    if (reference is None) == (since is None):
        raise click.UsageError("Give either an event or --since.")
    if since is not None:
        end = until.replace(tzinfo=UTC) if until else inbox.clock.now()
        say(request_for_time(inbox, since.replace(tzinfo=UTC), end))
        return
    with reading(inbox.engine) as session:
        row = _found(find_event(session, reference or ""))
    say(request_for_event(inbox, row))


@events.command("purge")
@as_json
def purge(as_json: bool) -> None:
    """Erase now what is older than the retention settings allow."""
    done = retention.purge(acting_inbox(), actor=ACTOR)
    show(asdict(done), as_json=as_json)
    if done.failed:
        raise SystemExit(1)


@events.command("reseal")
@as_json
def reseal(as_json: bool) -> None:
    """Seal every payload and every SealedText of yours with the newest of PAYLOAD_KEYS. Run it after a rotation."""
    result = rewrite.reseal(acting_inbox())
    show({"resealed": result.done, "unreadable": result.unreadable}, as_json=as_json)
    for place, count in result.unreadable_in.items():
        say(f"No key opens {count} in {place}.", err=True)
    if result.unreadable:
        raise SystemExit(1)


@events.command("remask")
@as_json
def remask(as_json: bool) -> None:
    """Mask every payload again by the present rules."""
    result = rewrite.remask(acting_inbox())
    show({"remasked": result.done, "unreadable": result.unreadable}, as_json=as_json)


@events.command("check")
@click.option("--max-dead", default=LIMITS.dead, show_default=True, type=NUMBER)
@click.option(
    "--max-quarantined",
    default=LIMITS.quarantined,
    show_default=True,
    type=NUMBER,
    help="Within --quarantined-hours.",
)
@click.option(
    "--quarantined-hours",
    default=_hours(LIMITS.quarantined_within),
    show_default=True,
    type=LENGTH,
    help="How many hours back --max-quarantined looks.",
)
@click.option(
    "--max-failing",
    default=LIMITS.failing,
    show_default=True,
    type=NUMBER,
    help="Events that fail and will be tried again.",
)
@click.option(
    "--max-failing-minutes",
    default=60 * _hours(LIMITS.failing_for),
    show_default=True,
    type=LENGTH,
    help="How long the first of them has been failing.",
)
@click.option(
    "--max-waiting-hours",
    default=_hours(LIMITS.waiting_for),
    show_default=True,
    type=LENGTH,
    help="How long a handler has put an event off (RetryLater).",
)
@click.option(
    "--max-due-seconds",
    default=3600 * _hours(LIMITS.due_for),
    show_default=True,
    type=LENGTH,
    help="Age of the oldest due event.",
)
@click.option(
    "--max-silence-hours",
    type=LENGTH,
    help="Hours without any delivery, even before the first. 0 turns it off. Default: 24, after the first.",
)
@click.option(
    "--max-rejected",
    default=LIMITS.rejected,
    show_default=True,
    type=NUMBER,
    help="Answers 401 within ten minutes, and as many other refusals.",
)
@click.option(
    "--max-wrong-paths",
    default=LIMITS.wrong_paths,
    show_default=True,
    type=NUMBER,
    help="POSTs within an hour to paths that look like the webhook's.",
)
@click.option(
    "--min-free-percent",
    default=LIMITS.disk_percent,
    show_default=True,
    type=Amount(0, 100),
    help="Of SQLite's disk. It is short with less than this and less than --min-free-gb.",
)
@click.option(
    "--min-free-gb",
    default=LIMITS.disk_bytes / 1024**3,
    show_default=True,
    type=LENGTH,
    help="Of SQLite's disk.",
)
@click.option(
    "--max-paused-hours",
    default=_hours(LIMITS.paused_for),
    show_default=True,
    type=LENGTH,
    help="How long a pause may last.",
)
@click.option(
    "--secret-days",
    default=_hours(LIMITS.secret_unused_for) / 24,
    show_default=True,
    type=LENGTH,
    help="How long one of several webhook secrets may be unused.",
)
@as_json
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


@events.command("failures")
@click.option(
    "--hours", type=LENGTH, help="A cause of the last so many hours is new. Default: since the workers were started."
)
@as_json
def failures(hours: float | None, as_json: bool) -> None:
    """List what fails, is dead or quarantined by its cause: new causes first, then the most frequent ones."""
    inbox = present_inbox()
    now, showing = inbox.clock.now(), inbox.settings.showing
    with reading(inbox.engine) as session:
        since = workers_began(session, now - WORKER_SILENCE) if hours is None else now - timedelta(hours=hours)
        found = failures_now(session, since)
    if as_json:
        click.echo(to_json(failures_by_cause(found, since, showing)))
        return
    for group in found.groups:
        sample = shown(group.sample, showing)
        new = "new  " if group.is_new else ""
        say(f"{group.count:>6,}  {new}{group.cause}  {sample.event_type or '-'}  {one_line(sample.last_error or '-')}")
        say(f"        {written(group.first_seen)}Z to {written(group.last_seen)}Z, such as {sample.command_name}")
    if found.capped:
        say("There are more: only the newest failures were looked at.")


@events.command("pause")
@click.argument("event_type", metavar="TYPE", required=False)
@click.option("--all", "every", is_flag=True, help="Every type, follow-ups too.")
@click.option("--reason", required=True, help="Why. Every page shows it, and the audit log keeps it.")
def pause(event_type: str | None, every: bool, reason: str) -> None:
    """Run no handler of this event type, or follow-up of this name, until `events resume`. Deliveries are accepted."""
    if not reason.strip():
        raise click.UsageError("The reason is empty.")
    is_new = pausing.pause(acting_inbox(), _type_or_every(event_type, every=every), actor=ACTOR, reason=reason)
    say("paused" if is_new else "paused already")


@events.command("resume")
@click.argument("event_type", metavar="TYPE", required=False)
@click.option("--all", "every", is_flag=True, help="The pause of every type. A type that was paused alone stays so.")
@click.option("--reason")
def resume(event_type: str | None, every: bool, reason: str | None) -> None:
    """Let the handlers of this event type run again."""
    is_ended = pausing.resume(acting_inbox(), _type_or_every(event_type, every=every), actor=ACTOR, reason=reason)
    if not is_ended:
        raise click.ClickException("It is not paused.")
    say("resumed")


def _type_or_every(event_type: str | None, *, every: bool) -> str:
    if every == (event_type is not None):
        raise click.UsageError("Give either a type, or --all.")
    if event_type is not None and not fits_a_column(event_type):
        raise BadFilter("type")
    return event_type or EVERY


def _act(
    inbox: Inbox,
    act: Act,
    done_word: str,
    do: Callable[[Row | StoredEvent], tuple[str, bool]],
    reference: str | None,
    wanted: Filter,
) -> None:
    """Do it to the one event, or to all events of the filter. Exits with 1 when one of them refuses."""
    done, refused = 0, Counter[str]()
    for row in _chosen(inbox, reference, wanted):
        if reference is None and (left_alone := left_alone_by(act, row, wanted)):
            refused[left_alone] += 1
            continue
        try:
            result, is_done = do(row)
            done += is_done
        except (CannotReplay, CannotDismiss) as error:
            result = str(error)
            refused[error.reason] += 1
        say(f"{shown(row, inbox.settings.showing).command_name}: {result}")
    if reference is None:
        why = "".join(f"; {LEFT_ALONE[code]}: {number:,}" for code, number in refused.most_common())
        click.echo(f"{done:,} {done_word}, {refused.total():,} refused{why}")
    if refused.keys() - {"done"}:
        raise SystemExit(1)


def _chosen(inbox: Inbox, reference: str | None, wanted: Filter) -> Iterator[Row | StoredEvent]:
    """The one event, or all events of the filter, the newest first."""
    if reference is None:
        yield from stream(inbox.engine, wanted)
        return
    with reading(inbox.engine) as session:
        row = _found(find_event(session, reference))
    yield row


def _filter(
    state: str | None,
    event_type: str | None,
    *,
    failing: bool,
    cause: str | None,
    attempts: int | None = None,
    origin: str | None = None,
) -> Filter:
    """Raises BadFilter."""
    states = [State.PENDING] if failing else [state or ""]
    parameters = {"state": states, "failing": ["yes" if failing else ""], "type": [event_type or ""]}
    parameters |= {"cause": [cause or ""], "attempts": [str(attempts or "")], "origin": [origin or ""]}
    return Filter.from_parameters(parameters)


def _found(row: StoredEvent | None) -> StoredEvent:
    if row is None:
        raise click.ClickException("There is no such event.")
    return row


def _shown(rows: Iterable[Row]) -> Iterator[Shown]:
    showing = present_inbox().settings.showing
    return (shown(row, showing) for row in rows)
