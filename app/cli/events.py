"""`events`: look, replay, check and keep house, from the command line."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from app.cli.context import Commands, as_json, present_inbox, show
from app.database import reading
from app.inbox import queries, retention, rewrite
from app.inbox import replay as replays
from app.inbox.bulk_replay import LEFT_ALONE
from app.inbox.context import Inbox
from app.inbox.filters import Filter
from app.inbox.lifecycle import REPLAYABLE, State
from app.inbox.masked import visible_payload
from app.inbox.models import StoredEvent
from app.inbox.search import PAGE, Row, page, stream
from app.inbox.support import request_for_event, request_for_time

ACTOR = "command line"
events = Commands("events", help="Look at events, replay them, keep house.")


@events.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]))
@click.option("--type", "event_type")
@click.option("--limit", default=PAGE, show_default=True, type=click.IntRange(1, 10_000))
@as_json
def list_(state: str | None, event_type: str | None, limit: int, as_json: bool) -> None:
    """The newest events first."""
    with reading(present_inbox().engine) as session:
        rows = page(session, _filter(state, event_type), limit=limit).rows
    if as_json:
        click.echo(json.dumps([_summary(row) for row in rows], default=str))
        return
    for row in rows:
        name = row.event_id or f"#{row.id}"
        click.echo(f"{row.received_at:%Y-%m-%d %H:%M:%S}Z  {row.state:<11}  {row.event_type or '-':<18}  {name}")


@events.command("show")
@click.argument("reference")
@as_json
def show_(reference: str, as_json: bool) -> None:
    """One event by its ID, or by # and its number: envelope, masked payload and audit trail."""
    inbox = present_inbox()
    with reading(inbox.engine) as session:
        row = _found(queries.find_event(session, reference))
        trail = queries.audit_trail(session, row)
    document = _summary(row) | {
        "last_error": row.last_error,
        "masked_payload": visible_payload(inbox.settings, row),
        "audit": trail.lines(
            lambda e: f"{e.at:%Y-%m-%d %H:%M:%S}Z {e.action} {e.result}" + (f" ({e.detail})" if e.detail else "")
        ),
    }
    show(document, as_json=as_json)


@events.command("replay")
@click.argument("reference", required=False)
@click.option("--state", type=click.Choice([state.value for state in sorted(REPLAYABLE)]))
@click.option("--type", "event_type")
@click.option("--reason")
def replay(reference: str | None, state: str | None, event_type: str | None, reason: str | None) -> None:
    """Make one event due again, or all in a --state (and of a --type)."""
    inbox = present_inbox()
    if (reference is None) == (state is None):
        raise click.UsageError("Give either an event or a --state.")
    replayed, refused = 0, Counter[str]()
    for row in _chosen(inbox, reference, state, event_type):
        try:
            result = replays.replay(inbox, row.id, actor=ACTOR, reason=reason)
            replayed += result == "due again"
        except replays.CannotReplay as error:
            result = str(error)
            refused[error.reason] += 1
        click.echo(f"{row.event_id or f'#{row.id}'}: {result}")
    if state is not None:
        why = "".join(f"; {LEFT_ALONE[code]}: {number:,}" for code, number in refused.most_common())
        click.echo(f"{replayed:,} replayed, {refused.total():,} refused{why}")
    if refused:
        raise SystemExit(1)


@events.command("support")
@click.argument("reference", required=False)
@click.option("--since", type=click.DateTime(), help="For deliveries that were refused: from when, in UTC.")
@click.option("--until", type=click.DateTime(), help="Until when; now unless given.")
def support(reference: str | None, since: datetime | None, until: datetime | None) -> None:
    """The text of a support request (§12.2) for one event, or for a time in which deliveries were refused."""
    inbox = present_inbox()
    if (reference is None) == (since is None):
        raise click.UsageError("Give either an event or --since.")
    if since is not None:
        end = until.replace(tzinfo=UTC) if until else inbox.clock.now()
        click.echo(request_for_time(inbox, since.replace(tzinfo=UTC), end))
        return
    with reading(inbox.engine) as session:
        row = _found(queries.find_event(session, reference or ""))
    click.echo(request_for_event(inbox, row))


@events.command("purge")
@as_json
def purge(as_json: bool) -> None:
    """Erase what retention no longer allows, now."""
    done = retention.purge(present_inbox(), actor=ACTOR)
    show(asdict(done), as_json=as_json)
    if done.failed:
        raise SystemExit(1)


@events.command("reseal")
@as_json
def reseal(as_json: bool) -> None:
    """Seal every payload under the newest of PAYLOAD_KEYS, after a rotation."""
    result = rewrite.reseal(present_inbox())
    show({"resealed": result.done, "unreadable": result.unreadable}, as_json=as_json)
    if result.unreadable:
        raise SystemExit(1)


@events.command("remask")
@as_json
def remask(as_json: bool) -> None:
    """Mask every payload again by today's rules."""
    result = rewrite.remask(present_inbox())
    show({"remasked": result.done, "unreadable": result.unreadable}, as_json=as_json)


@events.command("check")
@click.option("--max-dead", default=0, show_default=True)
@click.option("--max-due-seconds", default=300, show_default=True, help="Age of the oldest due event.")
@click.option("--max-silence-hours", type=float, help="Hours without any delivery; off unless given.")
@click.option("--max-rejected", default=20, show_default=True, help="401s within ten minutes.")
@as_json
def check(
    max_dead: int, max_due_seconds: int, max_silence_hours: float | None, max_rejected: int, as_json: bool
) -> None:
    """Exit with 1 when somebody should look (§6.4): for cron and monitors."""
    inbox = present_inbox()
    health, now = queries.health(inbox), inbox.clock.now()
    alarms = []
    if problem := queries.takes_writes(inbox):
        alarms.append(f"not ready: {problem}")
    if health.counts[State.DEAD] > max_dead:
        alarms.append(f"{health.counts[State.DEAD]} dead events")
    if health.oldest_due and (now - health.oldest_due).total_seconds() > max_due_seconds:
        alarms.append(f"backlog: the oldest due event waits since {health.oldest_due:%Y-%m-%d %H:%M:%S}Z")
    if health.due_without_worker:
        alarms.append("events are due and no worker was seen for a minute")
    if health.rejected_recently > max_rejected:
        alarms.append(f"{health.rejected_recently} rejected deliveries within ten minutes")
    silent = health.last_delivery is None or (now - health.last_delivery).total_seconds() / 3600
    if max_silence_hours is not None and (silent is True or silent > max_silence_hours):
        alarms.append(f"no delivery for {max_silence_hours:g} hours")
    show({"ok": not alarms, "alarms": alarms, **asdict(health)}, as_json=as_json)
    if alarms:
        raise SystemExit(1)


def _chosen(
    inbox: Inbox, reference: str | None, state: str | None, event_type: str | None
) -> Iterator[Row | StoredEvent]:
    """The one event, or all of a state and type, newest first."""
    if reference is None:
        yield from stream(inbox.engine, _filter(state, event_type))
        return
    with reading(inbox.engine) as session:
        row = _found(queries.find_event(session, reference))
    yield row


def _filter(state: str | None, event_type: str | None) -> Filter:
    return Filter(states=frozenset({State(state)} if state else ()), event_type=event_type)


def _found(row: StoredEvent | None) -> StoredEvent:
    if row is None:
        raise click.ClickException("There is no such event.")
    return row


def _summary(row: Row | StoredEvent) -> dict[str, Any]:
    names = (
        "id", "event_id", "event_type", "state", "quarantine_reason", "received_at", "occurred_at",
        "transaction_id", "policy_id", "claim_id", "attempts", "deliveries", "id_reused",
    )  # fmt: skip
    return {name: getattr(row, name) for name in names}
