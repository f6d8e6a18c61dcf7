"""What commands share: the inbox of the app, one way to print for people or for programs, one way to fail."""

from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy.exc import SQLAlchemyError

from receiver.config import EXIT_CONFIGURATION
from receiver.database.causes import told
from receiver.logs import logging_beside_output
from receiver.present import inbox_in_force
from receiver.privacy.escaping import one_line
from receiver.protocol.json_body import to_json
from receiver.queries.filters import BadFilter
from receiver.store.environment import REFUSAL
from receiver.store.inbox import Inbox

ACTOR = "command line"
"""Who acts, in the audit log, where a command does. Nobody knows which person it was."""
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Amount(click.FloatRange):
    """A number in a range. NaN is in no range, but click would let it pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        number = super().convert(value, param, ctx)
        return number if number == number else self.fail("nan is no number.", param, ctx)


class Commands(AppGroup):
    """A group of commands. An error that a person can mend is one line and exit code 1, not a traceback.

    `refusals` are such errors of this group alone.
    """

    def __init__(self, name: str, *, refusals: tuple[type[Exception], ...] = (), **given: Any) -> None:
        super().__init__(name, **given)
        self._refusals = refusals

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            with logging_beside_output():
                return super().invoke(ctx)
        except BadFilter as error:
            raise click.ClickException(f"The {error.name} is not understood.") from None
        except SQLAlchemyError as error:
            raise click.ClickException(told(error)) from None
        except self._refusals as error:
            raise click.ClickException(str(error)) from None


def acting_inbox() -> Inbox:
    """The inbox, for a command that changes something. Ends the process with 78 if `live` has a sandbox database."""
    inbox = inbox_in_force()
    refuse_environment(inbox)
    return inbox


def refuse_environment(inbox: Inbox) -> None:
    """End the process with 78 where `live` would work on a database of the sandbox. Raises SQLAlchemyError."""
    if inbox.guard.refuses_now():
        click.echo(f"The receiver cannot start:\n  - DATABASE_URL: {REFUSAL}", err=True)
        raise SystemExit(EXIT_CONFIGURATION)


def say(text: str, *, err: bool = False) -> None:
    """Print text. Control characters other than line ends are escaped, so that no terminal obeys them."""
    click.echo("\n".join(map(one_line, text.split("\n"))), err=err)


def show(document: dict[str, Any], *, as_json: bool) -> None:
    """Print one thing: JSON, or a line per field."""
    if as_json:
        click.echo(to_json(document))
        return
    for name, value in document.items():
        say(f"{name}: {to_json(value) if isinstance(value, dict) else one_line(str(value))}")
