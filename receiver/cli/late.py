"""A group of commands that are loaded when they are needed."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

import click
from flask.cli import AppGroup

Load = Callable[[], click.Command]


class LateGroup(AppGroup):
    """`late` says how each command is loaded, by its name. Others may be added as to any group."""

    def __init__(self, name: str, late: Mapping[str, Load], **given: Any) -> None:
        super().__init__(name, **given)
        self._late = late

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in alphabetical order."""
        return sorted({*super().list_commands(ctx), *self._late})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None when there is none of this name."""
        if cmd_name in self._late and cmd_name not in self.commands:
            self.add_command(self._late[cmd_name]())
        return super().get_command(ctx, cmd_name)


def command_of(module: str, name: str) -> Load:
    """Loads the command of this name from the module."""
    return lambda: cast(click.Command, getattr(import_module(module), name))
