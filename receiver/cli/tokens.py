"""`tokens`: who may read events, audit log, failures and health as JSON. A token is printed once.

receiver/actions/tokens.py does it. A TokenError there says why not.
"""

import click

from receiver.actions import tokens as made
from receiver.cli.context import ACTOR, Commands, acting_inbox, as_json, say
from receiver.present import present_inbox
from receiver.protocol.json_body import to_json
from receiver.protocol.moments import written
from receiver.queries.told import SCOPES

tokens = Commands(
    "tokens", refusals=(made.TokenError,), help="Who may read events, audit log, failures and health as JSON, at /api."
)


@tokens.command("create")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(list(SCOPES)), help="May be repeated."
)
@click.option("--days", type=click.IntRange(1, made.MOST_DAYS), help="How long it works. Default: until it is revoked.")
def create(name: str, scopes: tuple[str, ...], days: int | None) -> None:
    """Make a token, and print it once."""
    click.echo(made.create(acting_inbox(), name, scopes, days=days, actor=ACTOR))


@tokens.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List the tokens, those that have ended too. The tokens themselves are nowhere."""
    columns = ("name", "scopes", "created_by", "created_at", "ends_at", "used_at")
    rows = made.all_tokens(present_inbox())
    if as_json:
        click.echo(to_json([{column: getattr(row, column) for column in columns} for row in rows]))
        return
    for row in rows:
        ends = f"ends {written(row.ends_at)[:-3]}Z" if row.ends_at else "no end"
        used = f"used {written(row.used_at)[:-3]}Z" if row.used_at else "never used"
        say(f"{row.name}  {row.scopes}  {ends}  {used}  by {row.created_by}")


@tokens.command("revoke")
@click.argument("name")
def revoke(name: str) -> None:
    """Let a token end now."""
    made.revoke(acting_inbox(), name, actor=ACTOR)
    say(f"{name}: revoked")
