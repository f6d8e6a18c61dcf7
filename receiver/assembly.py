"""Puts the receiver together as one Flask app, and does nothing else.

`create_app()` is the receiver alone. `partners_app()` is what the partner's `create_app()` makes of it: every process
serves that one. `app_of_the_environment()` is the same for wsgi.py, which also starts without valid settings.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from receiver.server import shared

if TYPE_CHECKING:
    from flask import Flask

    from receiver.clock import Clock
    from receiver.config import Settings


def create_app(settings: Settings | None = None, clock: Clock | None = None) -> Flask:
    """The receiver, ready to serve. Without arguments its settings are the environment's.

    It finds the partner's parts, such as handlers and templates, in the package that PARTNER_PACKAGE names. You may add
    to the app what Flask allows: blueprints, commands, hooks, error handlers. Raises ConfigurationError when the
    settings don't allow a start.
    """
    # Imported here: gunicorn's master reads the settings too, and what it has imported gevent can't change any more.
    from flask import Flask

    from receiver import cli, discovery, partner, web
    from receiver.clock import Clock
    from receiver.config import load_settings
    from receiver.database.engine import make_engine
    from receiver.extensions import login
    from receiver.logs import configure_logging, report_errors
    from receiver.privacy.masking import show_more
    from receiver.reports import Reports
    from receiver.store.applied import InForce
    from receiver.store.inbox import Inbox

    settings = settings or load_settings()
    configure_logging(settings.environment, settings.log_level, settings.showing, settings.name)
    reports = Reports(settings) if settings.reports_to else None
    report_errors(reports)
    app = Flask("receiver", static_folder="web/static", template_folder="web/templates")
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
    )
    app.extensions["inbox"] = Inbox(
        make_engine(settings.database_url, settings.share.pages), InForce(settings), clock or Clock()
    )
    login.init_app(app)
    discovery.discover(settings.partner_package)
    show_more(*discovery.own_words(settings.partner_package))
    web.init_app(app, settings)
    partner.init_app(app, settings.partner_package)
    cli.init_app(app, settings.partner_package)
    return app


def partners_app(settings: Settings, clock: Clock | None = None) -> Flask:
    """The receiver with the partner's parts: what `create_app()` of the package that PARTNER_PACKAGE names returns.

    A package without a `create_app()` adds nothing to the receiver.
    """
    package = import_module(settings.partner_package)
    app: Flask = getattr(package, "create_app", create_app)(settings=settings, clock=clock)
    return app


def app_of_the_environment() -> Flask:
    """The app of gunicorn and the flask command. Settings that don't allow a start end the process with 78."""
    with shared.loading():
        return _app_of_the_environment()


def _app_of_the_environment() -> Flask:
    from receiver.config import ConfigurationError, load_settings
    from receiver.server import start
    from receiver.settings.env_file import load_env_file

    start.refuse_gunicorn_without_its_configuration()
    load_env_file()
    try:
        settings = load_settings()
        start.refuse_other_servers(settings.environment)
        app = partners_app(settings)
    except ConfigurationError as error:
        from receiver.cli.init import app_without_settings

        return app_without_settings(error)
    start.say_flasks_server()
    return app
