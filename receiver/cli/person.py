"""`events subject`, `events people`, `events reindex`: what is known of one person, how many there are, and the index.

The value is somebody's own: `-` reads it from the standard input, since everybody on the machine can read the arguments
of a command while it runs.
"""

import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from flask.cli import with_appcontext

from receiver.actions import person as acts
from receiver.actions.erasure import erase
from receiver.cli.chosen import line_of
from receiver.cli.context import ACTOR, acting_inbox, as_json, say, show
from receiver.maintenance.reindex import reindex as build_anew
from receiver.present import present_inbox
from receiver.private_files import create_private
from receiver.queries.person import Found, NoIndex
from receiver.queries.told import columns_of
from receiver.store.person_holds import HoldsUnknown
from receiver.store.shown import shown

LISTED = ("event_id", "event_type", "state", "received_at", "occurred_at", "id")


@click.command("subject")
@click.argument("value")
@click.option("--find", "do", flag_value="find", default="find", help="Say what is known. This is the default.")
@click.option("--export", "do", flag_value="export", help="Write all that is known, in clear text, as JSON.")
@click.option("--hold", "do", flag_value="hold", help="Let retention and erasures leave it alone.")
@click.option("--release", "do", flag_value="release", help="End the hold.")
@click.option("--erase", "do", flag_value="erase", help="Erase it, in your own tables too (@erases).")
@click.option("--reason", required=True, help="Why. The audit log keeps it.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="With --export: a new file.")
@click.option("--yes", is_flag=True, help="With --erase: do not ask.")
@click.option("--rewrite-tables", is_flag=True, help="With --erase: write the tables anew (VACUUM, VACUUM FULL).")
@as_json
@with_appcontext
def subject(
    value: str, do: str, reason: str, output: Path | None, yes: bool, rewrite_tables: bool, as_json: bool
) -> None:
    """What is known of one person, by an NRIC, e-mail, phone or number of theirs. `-` reads VALUE from the input."""
    inbox = acting_inbox()
    act = acts.Act(inbox, sys.stdin.readline() if value == "-" else value, actor=ACTOR, reason=reason)
    if do == "export":
        _export(act, output)
    elif do == "hold":
        say(f"{act.person.name} is on hold{'' if acts.hold(act) else ' already'}.")
    elif do == "release":
        acts.release(act)
        say(f"{act.person.name} is not on hold any more.")
    elif do == "erase":
        _erase(act, yes=yes, rewrite=rewrite_tables, as_json=as_json)
    else:
        _tell(acts.find(act), is_held=acts.is_on_hold(act), as_json=as_json)


@click.command("people")
@click.option("--since", type=click.DateTime(), required=True, help="The begin of the time, in UTC.")
@click.option("--until", type=click.DateTime(), help="The end of the time, in UTC. Default: now.")
@as_json
@with_appcontext
def people(since: datetime, until: datetime | None, as_json: bool) -> None:
    """How many people the events name that were received in a time: how many a breach concerns."""
    inbox = acting_inbox()
    end = until.replace(tzinfo=UTC) if until else inbox.clock.now()
    found = acts.count(inbox, since.replace(tzinfo=UTC), end, actor=ACTOR)
    show(
        {
            "events": found.events,
            "people": found.by_kind,
            "at_most": found.is_upper_bound,
            "events_that_name_nobody": found.unnamed,
        },
        as_json=as_json,
    )
    _say_beside(found.blind.words())


@click.command("reindex")
@as_json
@with_appcontext
def reindex(as_json: bool) -> None:
    """Build the index of people anew: after a change of SUBJECT_FIELDS, and after a new key in SUBJECT_INDEX_KEYS."""
    done = build_anew(acting_inbox())
    show(asdict(done), as_json=as_json)
    if done.unreadable:
        _say_beside([f"No key of PAYLOAD_KEYS opens {done.unreadable} payloads."])
        raise SystemExit(1)


COMMANDS = (subject, people, reindex)
REFUSALS = (NoIndex, acts.CannotAct, HoldsUnknown)
"""The errors that say why not."""


def _tell(found: Found, *, is_held: bool, as_json: bool) -> None:
    showing = present_inbox().settings.showing
    about: dict[str, Any] = {"person": found.name, "events": found.number, "on_hold": is_held}
    about |= {"states": found.by_state, "first_received": found.first_at, "last_received": found.last_at}
    about |= {"other_values_in_these_events": found.others}
    newest = [shown(row, showing) for row in found.newest]
    if as_json:
        rows = [columns_of(row, LISTED) for row in newest]
        show(about | {"newest": rows, "not_seen": found.blind.words()}, as_json=True)
        return
    show(about, as_json=False)
    for row in newest:
        say(line_of(row))
    if found.others:
        _say_beside(["Ask for each other value of theirs, too: an event may name them by it alone."])
    _say_beside(found.blind.words())


def _export(act: acts.Act, output: Path | None) -> None:
    if output is None:
        for piece in acts.export(act):
            click.echo(piece, nl=False)
        return
    try:
        file = os.fdopen(create_private(output), "w", encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"The file can't be made: {error.strerror}.") from None
    with file:
        file.writelines(acts.export(act))
    say(f"Wrote {output}. Only you can read it. Delete it when you have passed it on.")


def _erase(act: acts.Act, *, yes: bool, rewrite: bool, as_json: bool) -> None:
    if not yes:
        found = acts.look(act)
        _say_beside(found.blind.words())
        told = acts.number_of(found.number, "event")
        click.confirm(f"Erase {told} of {act.person.name}? Nobody can bring them back", abort=True)
    done = erase(act, rewrite=rewrite, seconds=0)
    if as_json:
        show(asdict(done), as_json=True)
    else:
        say("\n".join(done.words()))
    if done.left or done.kept:
        raise SystemExit(1)


def _say_beside(sentences: list[str]) -> None:
    """On standard error: the output may be for a program."""
    for sentence in sentences:
        say(sentence, err=True)
