"""This folder is yours: the receiver, and your own parts. wsgi.py serves what `create_app()` returns.

The receiver finds these by itself: your handlers in `handlers/`, your tables in models.py, your templates in
`templates/`, and your files in `static/`. masking.py says what more people may see of your payloads. A file samples.py
may say what your sample events hold (receiver/sandbox/samples.py).

- A template with the name of one of the receiver's replaces it, on every page that uses it. It may begin with
  `{% extends "receiver/base.html" %}` and change blocks: `title`, `head`, `links` (in the menu), `main`.
- A file in `static/` is at `/own/…`: `url_for("partner.static", filename="logo.svg")`. Everybody may read it.

Everything else that Flask allows has its place in `create_app()`. Your routes get what the receiver's routes get:
HTTPS, the security headers, a request ID and error pages. Forms need `csrf_token()`. Your routes are open to everybody,
unless you add a guard: `@viewer_required` or `@operator_required`, below `@blueprint.get(…)`.
"""

from typing import Any

from flask import Flask

import receiver


def create_app(**given: Any) -> Flask:
    """The receiver with your own parts. Tests give `settings` and `clock`."""
    app = receiver.create_app(**given)
    app.config.update()  # your settings, such as BANK_URL=os.environ.get("BANK_URL", "https://sandbox.bank.example")
    # A wrong setting:     raise receiver.ConfigurationError(["BANK_URL: is not set."]) stops the start with a sentence.
    # Your pages:          app.register_blueprint(customers.blueprint)
    # Your commands:       app.cli.add_command(reconcile)
    # Your request hooks:  app.before_request(note_address)
    # Your error pages:    app.register_error_handler(BankIsDown, show_bank_is_down)
    return app
