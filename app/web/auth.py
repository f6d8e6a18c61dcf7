"""Who is looking: sign-in, sign-out, and the two roles. A viewer may look, an operator may act."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import sqlalchemy as sa
from flask import Blueprint, Flask, abort, current_app, redirect, render_template, request, session, url_for
from flask_login import UserMixin, current_user, login_required, login_user, logout_user
from sqlalchemy.orm import Session
from werkzeug.security import check_password_hash, generate_password_hash
from werkzeug.wrappers import Response

from app.database import reading, writing
from app.extensions import login
from app.inbox.audit import record
from app.inbox.context import Inbox
from app.inbox.models import AuditEntry, User

blueprint = Blueprint("auth", __name__)

FAILURES_ALLOWED = 10
FAILURE_WINDOW_SECONDS = 900.0
_NOBODY = generate_password_hash("the hash of a user who does not exist")


class SignedIn(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """The signed-in user of a request."""

    def __init__(self, user: User) -> None:
        self.id = str(user.id)
        self.name = user.name
        self.may_act = user.role == "operator"


def init_app(app: Flask) -> None:
    """Send strangers to the sign-in page."""
    login.login_view = "auth.sign_in"

    @login.user_loader  # type: ignore[untyped-decorator]  # Flask-Login has no types
    def load(identity: str) -> SignedIn | None:
        inbox = cast(Inbox, app.extensions["inbox"])
        with reading(inbox.engine) as database:
            user = database.get(User, int(identity))
            return SignedIn(user) if user is not None and user.active else None


def operator_required(view: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse whoever may only look."""

    @login_required  # type: ignore[untyped-decorator]  # Flask-Login has no types
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not current_user.may_act:
            abort(403)
        return view(*args, **kwargs)

    return cast("Callable[..., Any]", guarded)


@blueprint.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> Response | str | tuple[str, int]:
    """One answer for an unknown name and a wrong password, in the same time."""
    if request.method == "GET":
        return render_template("sign_in.html", failed=False)
    inbox = cast(Inbox, current_app.extensions["inbox"])
    user = _authenticate(inbox, request.form.get("name", ""), request.form.get("password", ""))
    if user is None:
        return render_template("sign_in.html", failed=True), 401
    session.clear()  # a session from before the sign-in must not live on
    login_user(SignedIn(user))
    return redirect(url_for("events.index"))


@blueprint.post("/sign-out")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login has no types
def sign_out() -> Response:
    """End the session."""
    logout_user()
    return redirect(url_for("auth.sign_in"))


def _authenticate(inbox: Inbox, name: str, password: str) -> User | None:
    """The user whose password this is. The slow comparison holds no lock, and takes as long for nobody."""
    with reading(inbox.engine) as database:
        user = database.scalar(sa.select(User).where(User.name == name[:100], User.active))
    right = check_password_hash(user.password_hash if user else _NOBODY, password)
    with writing(inbox.engine) as database:
        if _too_many_failures(database, inbox):
            return None
        signed_in = user if right else None
        actor = signed_in.name if signed_in else None
        record(database, inbox, "sign_in", "signed in" if signed_in else "failed", actor=actor)
    return signed_in


def _too_many_failures(database: Session, inbox: Inbox) -> bool:
    failures = sa.select(sa.func.count()).select_from(AuditEntry).where(
        AuditEntry.action == "sign_in",
        AuditEntry.result == "failed",
        AuditEntry.at > inbox.now(plus=-FAILURE_WINDOW_SECONDS),
    )  # fmt: skip
    return (database.scalar(failures) or 0) >= FAILURES_ALLOWED
