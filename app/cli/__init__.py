"""The commands of `flask --app wsgi …`."""

from flask import Flask

from app.cli.events import events
from app.cli.init import init
from app.cli.senang import senang
from app.cli.users import users
from app.cli.worker import worker


def init_app(app: Flask) -> None:
    """Register every command."""
    for command in (init, worker, events, users, senang):
        app.cli.add_command(command)
