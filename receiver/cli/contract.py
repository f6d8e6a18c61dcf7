"""`senang contract`: what may be sent to this receiver, as an OpenAPI 3.1 document."""

from pathlib import Path

import click
from flask.cli import with_appcontext

from receiver.contract.document import contract as contract_of
from receiver.database.engine import reading
from receiver.present import inbox_in_force
from receiver.protocol.json_body import to_json
from receiver.queries.observed import observed
from receiver.sandbox.samples import TYPES


@click.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it into this file.")
@with_appcontext
def contract(output: Path | None) -> None:
    """Print an OpenAPI 3.1 document of what this receiver takes, as it is configured.

    It says of each type, field and header whether Senang.io publishes it, whether it is configured, or only observed.
    """
    inbox = inbox_in_force()
    with reading(inbox.engine) as session:
        noted = observed(session)
    text = to_json(contract_of(inbox.settings, TYPES, noted), indent=2)
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output} can't be written: {error.strerror}.") from None
