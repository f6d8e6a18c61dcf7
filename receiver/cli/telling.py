"""`events reveal`, `events support`: one hidden value, and the text of a support request (§12.2). Both are audited."""

from datetime import UTC, datetime

import click
from flask.cli import with_appcontext

from receiver.actions.reveal import reveal as reveal_column
from receiver.actions.support import request_for_event, request_for_time
from receiver.cli.chosen import found_event
from receiver.cli.context import ACTOR, acting_inbox, say
from receiver.database.engine import reading
from receiver.present import present_inbox
from receiver.store.shown import CHOSEN


@click.command("reveal")
@click.argument("reference")
@click.argument("column", type=click.Choice(CHOSEN))
@with_appcontext
def reveal(reference: str, column: str) -> None:
    """Print one hidden column of one event in clear text. The audit log says that it was asked for."""
    inbox = acting_inbox()
    with reading(inbox.engine) as session:
        row = found_event(session, reference)
    value = reveal_column(inbox, row.id, column, actor=ACTOR)
    if value is None:
        raise click.ClickException(f"The event has no {column}.")
    say(value)


@click.command("support")
@click.argument("reference", required=False)
@click.option("--since", type=click.DateTime(), help="For refused deliveries: the begin of the time, in UTC.")
@click.option("--until", type=click.DateTime(), help="The end of the time, in UTC. Default: now.")
@with_appcontext
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
        row = found_event(session, reference or "")
    say(request_for_event(inbox, row))


COMMANDS = (
    reveal,
    support,
)
