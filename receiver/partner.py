"""The pages of the partner's package: its templates, before ours, and its static files.

A partner's template with the name of one of ours replaces it. It can extend ours as `receiver/<name>`. Static files are
at `/own/…`: `url_for("partner.static", filename=…)`. Everybody may read them, like ours. A package without such folders
changes nothing.
"""

from flask import Blueprint, Flask
from jinja2 import ChoiceLoader, FileSystemLoader, PrefixLoader

from receiver.discovery import folder_of

STATIC_URL = "/own"


def init_app(app: Flask, package: str) -> None:
    """Add the templates and the static files of the package."""
    folder = folder_of(package)
    ours = app.jinja_loader or FileSystemLoader([])
    app.jinja_loader = ChoiceLoader([FileSystemLoader(folder / "templates"), ours, PrefixLoader({"receiver": ours})])
    app.register_blueprint(Blueprint("partner", package, static_folder=folder / "static", static_url_path=STATIC_URL))
