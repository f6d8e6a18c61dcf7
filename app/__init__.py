"""Yours: the receiver, and what is yours beside it. wsgi.py serves what `create_app()` returns.

Handlers, models and templates are found by themselves, in this folder. What else Flask allows has its place below.
"""

from typing import Any

from flask import Flask

import receiver


def create_app(**given: Any) -> Flask:
    """The receiver with your own parts. Tests give `settings` and `clock`."""
    app = receiver.create_app(**given)
    app.config.update()  # your settings:  BANK_URL=os.environ["BANK_URL"]
    # Your blueprints:        app.register_blueprint(portal.blueprint)
    # Your commands:          app.cli.add_command(reconcile)
    # Your request hooks:     app.before_request(check_address)
    # Your error pages:       app.register_error_handler(BankDown, show_bank_is_down)
    return app
