"""`new handler`: begin a handler with its schema and a test that fails until you have said what it does.

The handler and its schema are one new file, so nothing that you wrote is changed. What each new file holds is in
`_HANDLER` and `_TEST`.
"""

import keyword
import re
from collections.abc import Mapping
from pathlib import Path

import click
from flask.cli import with_appcontext

from receiver.cli.context import Commands
from receiver.discovery import folder_of
from receiver.present import present_inbox
from receiver.registry import handler_for, name_of, registered

TESTS = "tests/app"
LONGEST_NAME = 100
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[._-][A-Za-z0-9]+)*")
_HANDLER = '''\
"""What we do about {type}."""

from receiver import DataSchema, Event, Session, handles


class {schema}(DataSchema):
    """What `event.data` holds. Add a line for each field that you use, such as `amount = fields.Decimal()`.

    Such a line needs `from marshmallow import fields`.
    """


@handles("{type}", data={schema})
def {function}(event: Event, session: Session) -> None:
    """Set a state by advance(), never add to one: the event may come again, and in any order."""
    raise NotImplementedError("say here what is done about {type}")
'''
_TEST = '''\
"""{type}: what is in the database after it. `perform` runs the handler twice, as happens in production."""

import pytest


def test_{function}(perform, session):
    perform("{type}", data={{}})

    pytest.fail("say what is there now, such as: assert session.get(YourTable, …).status == …")
'''

new = Commands("new", help="Begin a part of your own.")


@new.command("handler")
@click.argument("event_type")
@with_appcontext
def handler(event_type: str) -> None:
    """Write a handler of EVENT_TYPE, its schema and a failing test. Nothing that exists is changed."""
    package = present_inbox().settings.partner_package
    handled_by = _refuse_handled(_checked(event_type))
    folder = folder_of(package) / "handlers"
    if not folder.is_dir():
        raise click.ClickException(f"{package} has no folder handlers: its handlers are in one file. Write it there.")
    function = _function(event_type)
    words = {"type": event_type, "function": function, "schema": f"{function.title().replace('_', '')}Data"}
    tests = folder_of(package).parents[package.count(".")] / TESTS
    texts = {
        folder / f"{function}.py": _HANDLER.format_map(words),
        tests / f"test_{function}.py": _TEST.format_map(words),
    }
    _write(texts)
    for path in texts:
        click.echo(f"Wrote {_shown(path)}")
    if handled_by:
        click.echo(f"{handled_by} has run {event_type} so far. From now on the new one does.")
    click.echo("Next: write the handler and its test, then make test-app")


def _checked(event_type: str) -> str:
    """The type, if a file and a function can be named after it."""
    if not _TYPE.fullmatch(event_type) or len(event_type) > LONGEST_NAME:
        raise click.ClickException(
            "An event type is letters and digits, parted by dots, hyphens or underscores, such as claim.reopened. It "
            f"begins with a letter, and has {LONGEST_NAME} characters at most."
        )
    return event_type


def _refuse_handled(event_type: str) -> str:
    """The handler of a pattern that has run this type so far, or an empty text."""
    known = dict(registered()).get(event_type)
    if known:
        raise click.ClickException(f"{event_type} has a handler already: {name_of(known.run)}.")
    by_pattern = handler_for(event_type)
    return name_of(by_pattern.run) if by_pattern else ""


def _function(event_type: str) -> str:
    name = re.sub(r"[^a-z0-9]", "_", event_type.lower())
    return f"{name}_event" if keyword.iskeyword(name) else name


def _write(texts: Mapping[Path, str]) -> None:
    """Write all of them, or none if one exists."""
    for path in texts:
        if path.exists():
            raise click.ClickException(f"{_shown(path)} exists already. Nothing was written.")
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise click.ClickException(f"{_shown(path)} can't be written: {error.strerror}.") from None


def _shown(path: Path) -> str:
    """The path as seen from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
