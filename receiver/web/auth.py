"""Who is looking: sign-in, sign-out, and the two roles. A viewer may look. An operator may act.

A session ends after SESSION_HOURS, used or not, after SESSION_IDLE_MINUTES without use, and with the browser. A live
part of a page refreshes itself, which is no use. A session ends at once when its user signs out, or when the user's
generation changes: receiver/actions/users.py says when. Then every copy of its cookie ends too. To add a role, add a
property to `SignedIn` and a guard like `operator_required`.
"""

import secrets
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, cast
from urllib.parse import urlsplit

from flask import Blueprint, Flask, abort, current_app, flash, g, redirect, render_template, request, session, url_for
from flask_login import UserMixin, current_user, login_required, login_user
from werkzeug.wrappers import Response

from receiver.actions import first_operator as first
from receiver.actions import second_factor
from receiver.actions import users as accounts
from receiver.config import Settings
from receiver.extensions import login
from receiver.green import Crowded, Lane
from receiver.present import present_inbox, request_id
from receiver.problem import RETRY_AFTER_SECONDS
from receiver.store.models import User
from receiver.web import problems

BUSY = "Too many people are signing in at this moment. Please try again in a few seconds."
USE_NOTED_SECONDS = 30
"""The cookie says when the session was used last, but is not written anew for each request."""
CODE_SECONDS = 300
"""So long after the password the code may follow."""
WRONG_CODE = "The code is wrong or was used, or there were too many tries."
_FIRST = "first_operator"
_HALF = "half signed in"
_ENDS_AT = "ends at"
comparisons = Lane(places=16)
"""Of passwords, in this process. A new one is made there too, for it takes as long."""
blueprint = Blueprint("auth", __name__)


class SignedIn(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """The signed-in user of a request."""

    def __init__(self, user: User, *, must_enrol: bool = False) -> None:
        self.row = user
        self.id = str(user.id)
        self.name = user.name
        self.may_act = user.role == "operator"
        self.must_enrol = must_enrol  # a second factor, before anything else


def init_app(app: Flask) -> None:
    """Let Flask-Login find the user of a session, and send strangers to the sign-in page."""
    app.extensions[_FIRST] = first.FirstOperator()
    login.user_loader(_load)
    login.unauthorized_handler(_ask_to_sign_in)


def viewer_required(view: Callable[..., Any]) -> Callable[..., Any]:
    """Only signed-in users may use the view: viewers and operators. Others get the sign-in page first.

    Put it below the route: `@blueprint.get("/customers")`, then `@viewer_required`.
    """

    @signed_in_required
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return redirect(url_for("account.show")) if current_user.must_enrol else view(*args, **kwargs)

    return guarded


def operator_required(view: Callable[..., Any]) -> Callable[..., Any]:
    """Only operators may use the view. A viewer gets a 403. Others get the sign-in page first.

    Put it below the route: `@blueprint.post("/customers/<reference>")`, then `@operator_required`.
    """

    @viewer_required
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not current_user.may_act:
            abort(403)
        return view(*args, **kwargs)

    return guarded


def signed_in_required(view: Callable[..., Any]) -> Callable[..., Any]:
    """For the pages of one's own account: whoever still has to set up a second factor may use the view, too."""
    return cast("Callable[..., Any]", login_required(view))


def origin() -> second_factor.Origin:
    """Where the present request comes from."""
    return second_factor.Origin(request.remote_addr or "", request_id())


@blueprint.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> Response | str | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """One answer for an unknown name, a wrong password, a disabled user and too many tries."""
    if request.method == "GET":
        return show_sign_in()
    if not present_inbox().settings.password_sign_in:
        return show_sign_in(refusal="Nobody signs in by a password here."), 403
    name, password = request.form.get("name", ""), request.form.get("password", "")
    try:
        user = accounts.sign_in(present_inbox(), name, password, comparisons=comparisons, **origin()._asdict())
    except Crowded:
        return show_sign_in(refusal=BUSY), 503, {"Retry-After": RETRY_AFTER_SECONDS}
    if user is None:
        return show_sign_in(refusal="The name or the password is wrong, or there were too many tries."), 401
    if user.second_factor_at is not None:
        session.clear()
        session[_HALF] = {"user": user.id, "generation": user.generation, "at": present_inbox().clock.now().timestamp()}
        return redirect(url_for("auth.code", next=own_path(request.args.get("next", ""))))
    return _signed_in(user)


@blueprint.route("/sign-in/code", methods=["GET", "POST"])
def code() -> Response | str | tuple[str, int]:
    """The second step of who has a second factor. It has to follow the password within some minutes."""
    inbox, half = present_inbox(), session.get(_HALF)
    if half is None or inbox.clock.now().timestamp() - half["at"] >= CODE_SECONDS:
        way = problems.Way("Begin again", url_for("auth.sign_in", next=own_path(request.args.get("next", ""))))
        return problems.failure(400, "No code is awaited", "Your name and your password come first.", way)
    if request.method == "GET":
        return render_template("sign_in_code.html")
    given = request.form.get("code", "")
    user = second_factor.finish_sign_in(inbox, half["user"], given, generation=half["generation"], origin=origin())
    if user is None:
        return render_template("sign_in_code.html", refusal=WRONG_CODE), 401
    return _signed_in(user)


def _signed_in(user: User) -> Response:
    begin_session(user)
    return redirect(own_path(request.args.get("next", "")) or url_for("events.index"))


def show_sign_in(refusal: str | None = None) -> str:
    """The sign-in form. `refusal` says why the last try was refused."""
    inbox = present_inbox()
    return render_template(
        "sign_in.html",
        refusal=refusal,
        name=request.form.get("name", ""),
        has_passwords=inbox.settings.password_sign_in,
        is_first_awaited=_may_be_first(inbox.settings) and current_app.extensions[_FIRST].is_awaited(inbox),
        provider=inbox.settings.openid.host if inbox.settings.openid else None,
        wanted=own_path(request.args.get("next", "")),
    )


def _may_be_first(settings: Settings) -> bool:
    """Whether the first operator comes by settings or a link. With a provider, they come from there."""
    return settings.password_sign_in and (settings.openid is None or bool(settings.first_operator_name))


@blueprint.route(f"{first.PATH}<token>", methods=["GET", "POST"])
def first_operator(token: str) -> Response | str | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Where the link in the log leads: choose a name and a password, and be signed in."""
    inbox, name, password = present_inbox(), request.form.get("name", ""), request.form.get("password", "")
    if not _may_be_first(inbox.settings) or not first.works(inbox, token):
        return render_template("first_operator.html", has_ended=True), 410
    if request.method == "GET":
        return render_template("first_operator.html")
    try:
        accounts.checked_name(name)
        hashed = comparisons.result(partial(accounts.hash_of, password), caller=request.remote_addr or "")
        user = first.add_by_link(inbox, token, name, hashed, request_id=request_id())
    except Crowded:
        return (
            render_template("first_operator.html", refusal=BUSY, name=name),
            503,
            {"Retry-After": RETRY_AFTER_SECONDS},
        )
    except accounts.AccountError as error:
        return render_template("first_operator.html", refusal=str(error), name=name), 400
    begin_session(user)
    return redirect(url_for("overview.index"))


def begin_session(user: User, *, ends_at: str | None = None) -> None:
    """Begin a session of the user. `ends_at` is where the browser has to go when it ends, to sign out there too."""
    session.clear()  # a session from before the sign-in must not live on
    login_user(SignedIn(user))
    now = present_inbox().clock.now().timestamp()
    session.update(id=secrets.token_urlsafe(16), generation=user.generation, signed_in_at=now, used_at=now)
    if ends_at:
        session[_ENDS_AT] = ends_at


@blueprint.post("/sign-out")
@signed_in_required
def sign_out() -> Response | str:
    """End this session. With `everywhere`, end every session of the user.

    A provider's session ends at the provider. The page leads there by itself: the answer to a form may not, for the
    pages' policy lets forms lead to this receiver alone.
    """
    accounts.sign_out(
        present_inbox(),
        int(current_user.id),
        session["id"],
        everywhere="everywhere" in request.form,
        request_id=request_id(),
    )
    ends_at = session.get(_ENDS_AT)
    session.clear()
    if ends_at:
        return render_template("signed_out.html", ends_at=ends_at)
    return redirect(url_for("auth.sign_in"), 303)


def _load(user_id: str) -> SignedIn | None:
    inbox, session_id = present_inbox(), session.get("id")
    now = inbox.clock.now().timestamp()
    if g.get("reader_stays_unknown") or session_id is None or _is_over(inbox.settings, now):
        return None
    user = accounts.signed_in_user(inbox, int(user_id), session_id, generation=session.get("generation"))
    if user is None:
        return None
    if not is_live_part() and now - session.get("used_at", 0) >= USE_NOTED_SECONDS:
        session["used_at"] = now
    return SignedIn(user, must_enrol=inbox.settings.require_second_factor and user.lacks_second_factor)


def _is_over(settings: Settings, now: float) -> bool:
    """Whether the session is too old, or was not used for too long."""
    idle = settings.session_idle
    is_old = now - session.get("signed_in_at", 0) >= settings.session_length.total_seconds()
    return is_old or (idle is not None and now - session.get("used_at", 0) >= idle.total_seconds())


def is_live_part() -> bool:
    """Whether a part of a page refreshes itself: no person asks."""
    return "HX-Request" in request.headers


def _ask_to_sign_in() -> Response:
    """Lead to the sign-in form, and from there back to the page. A live part of a page stays as it is."""
    if is_live_part():
        abort(401)
    if request.method == "GET":
        return redirect(url_for("auth.sign_in", next=request.script_root + request.full_path.removesuffix("?")))
    flash("Your session had ended, so nothing was done. Sign in, then do it again.")
    return redirect(url_for("auth.sign_in", next=page_of_the_form()))


def page_of_the_form() -> str | None:
    """The page of the form, without the host: behind a proxy, the host that we see can be another one."""
    page = urlsplit(request.referrer or "")
    return own_path(f"{page.path}?{page.query}".removesuffix("?"))


def own_path(target: str) -> str | None:
    """The target if it leads to a page of ours, or None. Browsers read `//`, `/\\` and `/<tab>/` as another host."""
    own = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if own else None
