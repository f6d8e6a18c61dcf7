"""`db`: Flask-Migrate's commands, with the defaults that two branches of migrations need.

`db upgrade` goes to the heads of both. `db migrate`, `db revision`, `db downgrade` and `db stamp` are about the
partner's branch. What they write is formatted like the project, where ruff is installed.
"""

import subprocess
import sys
from importlib.util import find_spec
from typing import cast

import click
from alembic.config import Config
from alembic.script import write_hooks
from flask import Flask
from flask_migrate import Migrate
from flask_migrate.cli import db

from receiver.database.columns import Base
from receiver.store.schema import MIGRATIONS, locate, partners_versions


def init_app(app: Flask, package: str) -> click.Group:
    """Add the commands. The partner's migrations are those of this package."""
    migrate = Migrate(app, Base, directory=str(MIGRATIONS))
    migrate.configure(lambda config: _configured(config, package))
    db.context_settings["default_map"] = _defaults(package)
    return cast(click.Group, db)


def _configured(config: Config, package: str) -> Config:
    config.stdout = sys.stdout  # Alembic's default is the one of the moment when it was imported
    config.set_section_option("post_write_hooks", "hooks", "style")
    config.set_section_option("post_write_hooks", "style.type", "style")
    return locate(config, package)


@write_hooks.register("style")
def _style(path: str, _options: object) -> None:
    if find_spec("ruff"):
        for command in (["check", "--fix", "--quiet"], ["format", "--quiet"]):
            subprocess.run([sys.executable, "-m", "ruff", *command, path], check=False)  # noqa: S603 - our own file


def _defaults(package: str) -> dict[str, dict[str, str]]:
    partners = {"head": "partner@head", "version_path": str(partners_versions(package))}
    return {
        "upgrade": {"revision": "heads"},
        "stamp": {"revision": "partner@head"},  # of `heads`, Alembic would forget those that were noted before
        "show": {"revision": "heads"},
        "edit": {"revision": "partner@head"},
        "downgrade": {"revision": "partner@-1"},
        "migrate": partners,
        "revision": partners,
    }
