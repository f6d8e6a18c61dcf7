"""Puts the receiver together as one Flask app, and does nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from receiver.clock import Clock
    from receiver.config import Settings


def create_app(settings: Settings | None = None, clock: Clock | None = None) -> Flask:
    """The receiver, ready to serve. Without arguments its settings are the environment's.

    What is the partner's, such as handlers and templates, is found in the package that PARTNER_PACKAGE names. Whoever
    calls this may add to the app what Flask allows: blueprints, commands, hooks, error handlers. Raises
    ConfigurationError when the settings don't allow a start.
    """
    # Imported here: gunicorn's master reads the settings too, and what it has imported gevent can't change any more.
    from flask import Flask

    from receiver import cli, partner, registry, web
    from receiver.clock import Clock
    from receiver.config import load_settings
    from receiver.database.engine import make_engine
    from receiver.extensions import login
    from receiver.logs import configure_logging
    from receiver.store.inbox import Inbox

    settings = settings or load_settings()
    configure_logging(settings.environment, settings.log_level, settings.showing)
    app = Flask("receiver", static_folder="web/static", template_folder="web/templates")
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
    )
    app.extensions["inbox"] = Inbox(make_engine(settings.database_url), settings, clock or Clock())
    login.init_app(app)
    registry.discover(settings.partner_package)
    web.init_app(app, settings)
    partner.init_app(app, settings.partner_package)
    cli.init_app(app)
    return app
