"""`events purge`, `reseal`, `remask`: retention at once (workers apply it by themselves), new keys and new masks."""

from dataclasses import asdict

import click
from flask.cli import with_appcontext

from receiver.cli.context import ACTOR, acting_inbox, as_json, say, show
from receiver.maintenance import retention, rewrite


@click.command("purge")
@as_json
@with_appcontext
def purge(as_json: bool) -> None:
    """Erase now what is older than the retention settings allow."""
    done = retention.purge(acting_inbox(), actor=ACTOR)
    show(asdict(done), as_json=as_json)
    if done.failed:
        raise SystemExit(1)


@click.command("reseal")
@as_json
@with_appcontext
def reseal(as_json: bool) -> None:
    """Seal every payload and every SealedText of yours with the newest of PAYLOAD_KEYS. Run it after a rotation."""
    result = rewrite.reseal(acting_inbox())
    show({"resealed": result.done, "unreadable": result.unreadable}, as_json=as_json)
    for place, count in result.unreadable_in.items():
        say(f"No key opens {count} in {place}.", err=True)
    if result.unreadable:
        raise SystemExit(1)


@click.command("remask")
@as_json
@with_appcontext
def remask(as_json: bool) -> None:
    """Mask every payload again by the present rules."""
    result = rewrite.remask(acting_inbox())
    show({"remasked": result.done, "unreadable": result.unreadable}, as_json=as_json)


COMMANDS = (
    purge,
    reseal,
    remask,
)
