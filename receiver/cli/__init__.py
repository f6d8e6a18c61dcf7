"""The commands of `flask --app wsgi …`. To add one: write a module with a command of the same name, and add it here.

A command's module is imported when the command is called or listed. A web process calls none, so it starts sooner.
"""

import logging
from functools import partial
from typing import Any

import click
from flask import Flask

from receiver.cli.late import LateGroup, command_of

NAMES = ("init", "worker", "events", "users", "tokens", "senang", "new")


def init_app(app: Flask, package: str) -> None:
    """Register every command. The migrations are those of the partner's package."""
    commands = {name: command_of(f"receiver.cli.{name}", name) for name in NAMES}
    app.cli = LateGroup(app.name, commands | {"db": partial(_migrations, app, package)})
    app.extensions["migrate"] = _Migrate(app, package)


def _migrations(app: Flask, package: str) -> click.Command:
    logging.getLogger("alembic.runtime.plugins").setLevel("WARNING")  # it would have a line for each that is there
    from receiver.cli import database  # it loads Alembic

    return database.init_app(app, package)


class _Migrate:
    """Stands where Flask-Migrate looks for its settings, until it looks for one."""

    def __init__(self, app: Flask, package: str) -> None:
        self._app, self._package = app, package

    def __getattr__(self, name: str) -> Any:
        _migrations(self._app, self._package)
        return getattr(self._app.extensions["migrate"], name)
