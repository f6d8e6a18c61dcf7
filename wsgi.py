"""The entry point of gunicorn and the flask command. Settings that don't allow a start end it with exit code 78."""

from app import create_app
from receiver.cli.init import app_without_settings
from receiver.config import ConfigurationError, load_env_file
from receiver.database.url import ROOT
from receiver.server.start import refuse_gunicorn_without_its_configuration

refuse_gunicorn_without_its_configuration()
load_env_file(ROOT / ".env")
try:
    app = create_app()
except ConfigurationError as error:
    app = app_without_settings(error)
