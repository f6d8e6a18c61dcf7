"""The Senang.io webhook receiver. `create_app()` assembles it, and does nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.clock import Clock
    from app.config import Settings


def create_app(settings: Settings | None = None, clock: Clock | None = None) -> Flask:
    """The application, ready to serve. Raises ConfigurationError when the settings don't allow a start."""
    # Imported here: gunicorn's master reads the settings too, and what it has imported gevent can't change any more.
    from flask import Flask

    from app import cli, registry, web
    from app.clock import Clock
    from app.config import load_settings
    from app.database import Base, make_engine
    from app.extensions import login, migrate
    from app.inbox.context import Inbox
    from app.logs import configure_logging

    settings = settings or load_settings()
    configure_logging(settings.environment, settings.log_level, settings.showing)
    app = Flask(__name__, static_folder="web/static", template_folder="web/templates")
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
    )
    engine = make_engine(settings.database_url)
    app.extensions["inbox"] = Inbox(engine, settings, clock or Clock())
    migrate.init_app(app, Base)
    login.init_app(app)
    registry.discover()
    web.init_app(app, settings)
    cli.init_app(app)
    return app
