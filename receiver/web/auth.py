"""Who is looking: sign-in, sign-out, and the two roles. A viewer may look. An operator may act.

A session lasts twelve hours from its sign-in, used or not, and ends with the browser. It ends at once when its user
signs out, or when the user's generation changes: receiver/actions/users.py says when. Then every copy of its cookie
ends too. To add a role, add a property to `SignedIn` and a guard like `operator_required`.
"""

import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any, cast
from urllib.parse import urlsplit

from flask import Blueprint, Flask, abort, flash, g, redirect, render_template, request, session, url_for
from flask_login import UserMixin, current_user, login_required, login_user
from werkzeug.wrappers import Response

from receiver.actions import users as accounts
from receiver.extensions import login
from receiver.green import Crowded, Lane
from receiver.present import present_inbox, request_id
from receiver.problem import RETRY_AFTER_SECONDS
from receiver.store.models import User

comparisons = Lane(places=16)
"""Of passwords, in this process."""
blueprint = Blueprint("auth", __name__)


class SignedIn(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """The signed-in user of a request."""

    def __init__(self, user: User) -> None:
        self.id = str(user.id)
        self.name = user.name
        self.may_act = user.role == "operator"


def init_app(app: Flask) -> None:
    """Let Flask-Login find the user of a session, and send strangers to the sign-in page."""
    login.user_loader(_load)
    login.unauthorized_handler(_ask_to_sign_in)


def viewer_required(view: Callable[..., Any]) -> Callable[..., Any]:
    """Only signed-in users may use the view: viewers and operators. Others get the sign-in page first.

    Put it below the route: `@blueprint.get("/customers")`, then `@viewer_required`.
    """
    return cast("Callable[..., Any]", login_required(view))


def operator_required(view: Callable[..., Any]) -> Callable[..., Any]:
    """Only operators may use the view. A viewer gets a 403. Others get the sign-in page first.

    Put it below the route: `@blueprint.post("/customers/<reference>")`, then `@operator_required`.
    """

    @login_required  # type: ignore[untyped-decorator]  # Flask-Login has no types
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not current_user.may_act:
            abort(403)
        return view(*args, **kwargs)

    return cast("Callable[..., Any]", guarded)


@blueprint.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> Response | str | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """One answer for an unknown name, a wrong password, a disabled user and too many tries."""
    if request.method == "GET":
        return show_sign_in()
    name, password = request.form.get("name", ""), request.form.get("password", "")
    origin = {"address": request.remote_addr or "", "request_id": request_id()}
    try:
        user = accounts.sign_in(present_inbox(), name, password, comparisons=comparisons, **origin)
    except Crowded:
        busy = "Too many people are signing in at this moment. Please try again in a few seconds."
        return show_sign_in(refusal=busy), 503, {"Retry-After": RETRY_AFTER_SECONDS}
    if user is None:
        return show_sign_in(refusal="The name or the password is wrong, or there were too many tries."), 401
    session.clear()  # a session from before the sign-in must not live on
    login_user(SignedIn(user))
    signed_in_at = present_inbox().clock.now().timestamp()
    session.update(id=secrets.token_urlsafe(16), generation=user.generation, signed_in_at=signed_in_at)
    return redirect(_own_path(request.args.get("next", "")) or url_for("events.index"))


def show_sign_in(refusal: str | None = None) -> str:
    """The sign-in form. `refusal` says why the last try was refused."""
    return render_template("sign_in.html", refusal=refusal, name=request.form.get("name", ""))


@blueprint.post("/sign-out")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login has no types
def sign_out() -> Response:
    """End this session. With `everywhere`, end every session of the user."""
    accounts.sign_out(
        present_inbox(),
        int(current_user.id),
        session["id"],
        everywhere="everywhere" in request.form,
        request_id=request_id(),
    )
    session.clear()
    return redirect(url_for("auth.sign_in"), 303)


def _load(user_id: str) -> SignedIn | None:
    inbox = present_inbox()
    session_id, age = session.get("id"), inbox.clock.now().timestamp() - session.get("signed_in_at", 0)
    if g.get("reader_stays_unknown") or session_id is None or age >= accounts.SESSION_SECONDS:
        return None
    user = accounts.signed_in_user(inbox, int(user_id), session_id, generation=session.get("generation"))
    return SignedIn(user) if user else None


def _ask_to_sign_in() -> Response:
    """Lead to the sign-in form, and from there back to the page. A live part of a page stays as it is."""
    if request.headers.get("HX-Request"):
        abort(401)
    if request.method == "GET":
        return redirect(url_for("auth.sign_in", next=request.script_root + request.full_path.removesuffix("?")))
    flash("Your session had ended, so nothing was done. Sign in, then do it again.")
    return redirect(url_for("auth.sign_in", next=_page_of_the_form()))


def _page_of_the_form() -> str | None:
    """The page of the form, without the host: behind a proxy, the host that we see can be another one."""
    page = urlsplit(request.referrer or "")
    return _own_path(f"{page.path}?{page.query}".removesuffix("?"))


def _own_path(target: str) -> str | None:
    """The target if it leads to a page of ours, or None. Browsers read `//`, `/\\` and `/<tab>/` as another host."""
    own = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if own else None
