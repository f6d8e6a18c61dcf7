"""`db`: Flask-Migrate's commands, with the defaults that two branches of migrations need.

`db upgrade` goes to the heads of both. `db migrate`, `db revision` and `db downgrade` are about the partner's branch.
"""

from flask import Flask
from flask_migrate import Migrate
from flask_migrate.cli import db

from receiver.database.columns import Base
from receiver.store.schema import MIGRATIONS, locate, partners_versions


def init_app(app: Flask, package: str) -> None:
    """Add the commands. The partner's migrations are those of this package."""
    migrate = Migrate(app, Base, directory=str(MIGRATIONS))
    migrate.configure(lambda config: locate(config, package))
    db.context_settings["default_map"] = _defaults(package)


def _defaults(package: str) -> dict[str, dict[str, str]]:
    partners = {"head": "partner@head", "version_path": str(partners_versions(package))}
    return {
        "upgrade": {"revision": "heads"},
        "stamp": {"revision": "heads"},
        "downgrade": {"revision": "partner@-1"},
        "migrate": partners,
        "revision": partners,
    }
