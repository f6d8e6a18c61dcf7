"""The entry point of gunicorn and the flask command. Settings that don't allow a start end it with exit code 78."""

from app import create_app
from app.cli.init import app_without_settings
from app.config import ConfigurationError, load_env_file
from app.database import ROOT
from app.server.start import refuse_gunicorn_without_its_configuration

refuse_gunicorn_without_its_configuration()
load_env_file(ROOT / ".env")
try:
    app = create_app()
except ConfigurationError as error:
    app = app_without_settings(error)
