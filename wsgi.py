"""The entry point of gunicorn and the flask command: it serves what `create_app()` in app/__init__.py returns."""

from receiver.assembly import app_of_the_environment

app = app_of_the_environment()
