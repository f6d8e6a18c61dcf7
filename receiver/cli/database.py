"""`db`: Flask-Migrate's commands, with the defaults that two branches of migrations need.

`db upgrade` goes to the heads of both. `db migrate`, `db revision` and `db downgrade` are about the partner's branch.
"""

from flask import Flask
from flask_migrate import Migrate
from flask_migrate.cli import db

from receiver.database.columns import Base
from receiver.store.schema import MIGRATIONS, PARTNERS_VERSIONS, locate

_PARTNERS = {"head": "partner@head", "version_path": str(PARTNERS_VERSIONS)}
DEFAULTS = {
    "upgrade": {"revision": "heads"},
    "stamp": {"revision": "heads"},
    "downgrade": {"revision": "partner@-1"},
    "migrate": _PARTNERS,
    "revision": _PARTNERS,
}


def init_app(app: Flask) -> None:
    """Add the commands."""
    migrate = Migrate(app, Base, directory=str(MIGRATIONS))
    migrate.configure(locate)
    db.context_settings["default_map"] = DEFAULTS
