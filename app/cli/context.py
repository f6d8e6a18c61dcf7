"""What commands share: the inbox of the app, and one way to print for people or for programs."""

import json
from typing import Any, cast

import click
from flask import current_app

from app.inbox.context import Inbox

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


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
