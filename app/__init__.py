"""The Senang.io webhook receiver. `create_app()` assembles it, and does nothing else."""

from flask import Flask

from app import cli, registry, web
from app.clock import Clock
from app.config import Settings, load_settings
from app.database import engine_options
from app.extensions import csrf, db, login, migrate
from app.inbox.context import Inbox
from app.logs import configure_logging


def create_app(settings: Settings | None = None, clock: Clock | None = None) -> Flask:
    """The application, ready to serve. Raises ConfigurationError when the settings don't allow a start."""
    settings = settings or load_settings()
    configure_logging(settings.environment, settings.log_level)
    app = Flask(__name__, static_folder="web/static", template_folder="web/templates")
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SQLALCHEMY_ENGINES={"default": engine_options(settings.database_url)},
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.require_https,
    )
    db.init_app(app)
    migrate.init_app(app, db)
    login.init_app(app)
    csrf.init_app(app)
    with app.app_context():
        app.extensions["inbox"] = Inbox(db.engine, settings, clock or Clock())
    registry.discover()
    web.init_app(app, settings)
    cli.init_app(app)
    return app
