"""What commands share: the inbox of the app, one way to print for people or for programs, one way to fail."""

import json
from typing import Any, cast

import click
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy.exc import SQLAlchemyError

from app.database import cause_of
from app.inbox.context import Inbox

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Commands(AppGroup):
    """A group of commands. A database that does not answer is one line and exit code 1, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SQLAlchemyError as error:
            raise click.ClickException(f"The database does not answer as it should: {cause_of(error)}") from None


def present_inbox() -> Inbox:
    """The inbox of the app that runs the command."""
    return cast(Inbox, current_app.extensions["inbox"])


def show(document: dict[str, Any], *, as_json: bool) -> None:
    """Print one thing: JSON, or a line per field."""
    if as_json:
        click.echo(json.dumps(document, default=str))
        return
    for name, value in document.items():
        click.echo(f"{name}: {value}")
