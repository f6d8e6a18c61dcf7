"""The commands of `flask --app wsgi …`."""

from flask import Flask

from receiver.cli import database
from receiver.cli.events import events
from receiver.cli.init import init
from receiver.cli.senang import senang
from receiver.cli.users import users
from receiver.cli.worker import worker


def init_app(app: Flask, package: str) -> None:
    """Register every command. The migrations are those of the partner's package."""
    database.init_app(app, package)
    for command in (init, worker, events, users, senang):
        app.cli.add_command(command)
