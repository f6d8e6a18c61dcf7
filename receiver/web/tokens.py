"""The page of tokens: who may read as JSON. A new token is shown once, on the answer to its form."""

from collections.abc import Sequence

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from receiver.actions import tokens
from receiver.present import present_inbox
from receiver.queries.filters import choice_in
from receiver.queries.told import SCOPES
from receiver.web.auth import operator_required

DAYS = ("30", "90", "365")

blueprint = Blueprint("tokens", __name__, url_prefix="/tokens")


@blueprint.get("")
@operator_required
def index() -> str:
    """The tokens that are not revoked, and a form for a new one."""
    return _page()


@blueprint.post("")
@operator_required
def create() -> str | tuple[str, int]:
    """Make a token, and show it."""
    days = choice_in(request.form, "days", DAYS)
    name, scopes = request.form.get("name", "").strip(), request.form.getlist("scope")
    try:
        made = tokens.create(present_inbox(), name, scopes, days=int(days) if days else None, actor=current_user.name)
    except tokens.TokenError as error:
        return _page(refusal=str(error), name=name, chosen=scopes), 400
    return _page(made=made)


@blueprint.post("/revoke")
@operator_required
def revoke() -> Response:
    """Let a token end now."""
    try:
        tokens.revoke(present_inbox(), request.form.get("name", ""), actor=current_user.name)
        flash("The token is revoked. It works no more.")
    except tokens.TokenError as error:
        flash(str(error))
    return redirect(url_for("tokens.index"))


def _page(*, made: str = "", refusal: str = "", name: str = "", chosen: Sequence[str] = ()) -> str:
    inbox = present_inbox()
    return render_template(
        "tokens.html",
        rows=tokens.all_tokens(inbox),
        now=inbox.clock.now(),
        made=made,
        refusal=refusal,
        name=name,
        chosen=chosen,
        scopes=SCOPES,
        days=DAYS,
        longest=tokens.LONGEST_NAME,
    )
