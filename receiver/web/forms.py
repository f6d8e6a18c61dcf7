"""What a form must prove before anything is done, and what its reader sees when it can't.

A form carries a token of its reader's session. The token is valid as long as the session. A form of another site comes
without the session, because the cookie is SameSite=Lax. But an attacker may plant a session: from a neighbouring host
name, or over plain HTTP. `Sec-Fetch-Site` stops such a form. The browser itself writes it on every HTTPS request, and
no page can forge it.

Flask-WTF has another check against such forms, which is off. Over HTTPS it compares the Referer with the Host. Some
proxies lose the port, or pass on the name of their upstream as Host (nginx does, unless told otherwise). Behind them
the check would refuse every form, the sign-in too. Every proxy passes on `Sec-Fetch-Site` unchanged.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Blueprint, Flask, g, request, url_for
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from werkzeug.wrappers import Response

from receiver.extensions import csrf
from receiver.web import auth, problems

TITLE = "The form is out of date"
V = TypeVar("V", bound=Callable[..., Any] | Blueprint)
OURS = ("same-origin", "none")
"""The values of Sec-Fetch-Site in a form of ours. It is `none` when the browser sends a form again by itself."""


def init_app(app: Flask) -> None:
    """Check every form. Answer a form that proves nothing with a page."""
    app.config.update(WTF_CSRF_TIME_LIMIT=None, WTF_CSRF_SSL_STRICT=False, WTF_CSRF_CHECK_DEFAULT=False)
    csrf.init_app(app)
    app.before_request(_check)
    app.register_error_handler(CSRFError, _refuse)


def csrf_exempt(view: V) -> V:
    """Let a view, or all views of a blueprint, take POSTs of programs, which carry no token of a form.

    Such a view has to prove by itself who asks, and must not believe the cookie of a session.
    """
    csrf.exempt(view)
    return view


def _check() -> None:
    """Raises CSRFError."""
    csrf.protect(apply_exemptions=True)
    if "csrf_valid" in g and request.headers.get("Sec-Fetch-Site", "same-origin") not in OURS:
        raise CSRFError("The form was sent from another site.")


def _refuse(_error: CSRFError) -> Response | tuple[str, int]:
    """Say that nothing was done. A sign-in gets the form again. Any other form gets the way back to its page."""
    if request.endpoint == "auth.sign_in":
        return auth.show_sign_in(refusal="This form was out of date. Please try again."), 400
    detail, page = "This form belongs to a session that has ended, so nothing was done.", auth.page_of_the_form()
    if not current_user.is_authenticated:
        way = problems.Way("Sign in", url_for("auth.sign_in", next=page))
        return problems.failure(400, TITLE, f"{detail} Sign in, then do it again.", way)
    way_back = problems.Way("Go back to its page", page) if page else None
    return problems.failure(400, TITLE, f"{detail} Go back to its page, reload it, then do it again.", way_back)
