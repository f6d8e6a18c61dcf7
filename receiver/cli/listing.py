"""`events list`, `events show`, `events failures`: what there is."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice

import click
from flask.cli import with_appcontext

from receiver.cli.chosen import event_filter, found_event, line_of
from receiver.cli.context import Amount, as_json, say, show
from receiver.database.engine import reading
from receiver.present import present_inbox
from receiver.privacy.escaping import one_line
from receiver.protocol.json_body import to_json
from receiver.protocol.moments import written
from receiver.queries.audit_trail import audit_trail
from receiver.queries.failures import failures as failures_now
from receiver.queries.failures import workers_began
from receiver.queries.filters import Origin
from receiver.queries.search import PAGE, Row, follow_ups_of, stream
from receiver.queries.told import (
    EVENT,
    columns_of,
    event_with_everything,
    failures_by_cause,
)
from receiver.queries.workers import WORKER_SILENCE
from receiver.store.lifecycle import State
from receiver.store.shown import Shown, shown


@click.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]))
@click.option("--failing", is_flag=True, help="Only pending events whose last attempt failed or asked to run later.")
@click.option("--type", "event_type")
@click.option("--cause", help="Only failures of this cause, as `events failures` names it.")
@click.option("--attempts", type=click.IntRange(1, 1_000_000), help="Only events that had so many attempts or more.")
@click.option("--origin", type=click.Choice(list(Origin)), help="Only what was delivered, or only follow-ups.")
@click.option("--limit", default=PAGE, show_default=True, type=click.IntRange(1, 10_000))
@as_json
@with_appcontext
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
    wanted = event_filter(state, event_type, failing=failing, cause=cause, attempts=attempts, origin=origin)
    rows = islice(stream(present_inbox().engine, wanted), limit)
    if as_json:
        click.echo(to_json([columns_of(row, EVENT) for row in _shown(rows)]))
        return
    for row in _shown(rows):
        error = row.last_error and one_line(row.last_error)
        line = line_of(row)
        say(f"{line}  {'failing' if row.is_failing else 'error'}: {error}" if error else line)


@click.command("show")
@click.argument("reference")
@as_json
@with_appcontext
def show_(reference: str, as_json: bool) -> None:
    """Show one event, by its ID or by # and its number: envelope, masked payload and audit trail."""
    inbox = present_inbox()
    with reading(inbox.engine) as session:
        row = found_event(session, reference)
        trail, asked = audit_trail(session, row), follow_ups_of(session, row.id)
    told = event_with_everything(inbox.settings, row, trail, asked)
    if not as_json:
        lines = trail.shown(inbox.settings.showing).lines(
            lambda e: f"{written(e.at)}Z {e.action} {e.result}" + (f" ({e.detail})" if e.detail else "")
        )
        told |= {"audit": lines, "follow_ups": [one["event_id"] for one in told["follow_ups"]]}
        del told["audit_left_out"]  # a line says it
    show(told, as_json=as_json)


@click.command("failures")
@click.option(
    "--hours",
    type=Amount(0, 1_000_000),
    help="A cause of the last so many hours is new. Default: since the workers were started.",
)
@as_json
@with_appcontext
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


def _shown(rows: Iterable[Row]) -> Iterator[Shown]:
    showing = present_inbox().settings.showing
    return (shown(row, showing) for row in rows)


COMMANDS = (
    list_,
    show_,
    failures,
)
