"""The page of pauses: what is paused, and for operators, how to pause and to resume. Each page says what is paused."""

from flask import Blueprint, Flask, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from receiver import registry
from receiver.actions import pause as pausing
from receiver.database.engine import reading
from receiver.present import present_inbox
from receiver.queries.conditions import Paused
from receiver.queries.filters import text_in
from receiver.queries.health import seen_types
from receiver.queries.pauses import present_pauses
from receiver.store.lifecycle import EVERY
from receiver.store.shown import Shown, shown, shown_part
from receiver.web.auth import operator_required, viewer_required
from receiver.web.present import REASON_NEEDED, reason

blueprint = Blueprint("pauses", __name__, url_prefix="/pauses")


@blueprint.get("")
@viewer_required
def index() -> str:
    """What is paused now."""
    inbox = present_inbox()
    with reading(inbox.engine) as session:
        seen = list(map(inbox.settings.showing, seen_types(session)))
    handled = [pattern for pattern, _ in registry.registered() if "*" not in pattern]
    types = sorted({*seen, *handled, *registry.present().followers})
    return render_template("pauses.html", types=types, asked=request.args.get("type", ""))


@blueprint.post("")
@operator_required
def begin() -> Response:
    """Pause a type, or all."""
    inbox, why, event_type = present_inbox(), reason(), _asked_type()
    if not event_type:
        flash("Nothing was done: name an event type, or a follow-up.")
    elif not why:
        flash(REASON_NEEDED)
    elif pausing.pause(inbox, event_type, actor=current_user.name, reason=why):
        flash("Paused. Within a second or two, no handler begins.")
    else:
        flash("It is paused already.")
    return redirect(url_for("pauses.index"))


@blueprint.post("/resume")
@operator_required
def end() -> Response:
    """Resume a type, or all."""
    is_ended = pausing.resume(present_inbox(), _asked_type() or "", actor=current_user.name, reason=reason())
    flash("Resumed." if is_ended else "It is not paused.")
    return redirect(url_for("pauses.index"))


def init_app(app: Flask) -> None:
    """Give every template `pauses()`, for those who are signed in."""
    app.jinja_env.globals["pauses"] = _present_pauses


def _present_pauses() -> list[Shown]:
    """As people see them. Empty when nobody can tell: the page may be the one that says so."""
    found = shown_part("pauses", _asked_of_the_database) or []
    return [shown(pause, present_inbox().settings.showing) for pause in found]


def _asked_of_the_database() -> list[Paused]:
    with reading(present_inbox().engine) as session:
        return list(present_pauses(session))


def _asked_type() -> str | None:
    """The type that the form names. Raises BadFilter for what no row can hold."""
    if request.form.get("every"):
        return EVERY
    opened = present_inbox().settings.showing.from_address(request.form.get("event_type", "").strip())
    return text_in({"event_type": opened}, "event_type")
