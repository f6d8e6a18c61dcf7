"""The pages of a bulk replay: plan, confirm, progress, cancel. receiver/actions/bulk_replay.py does the work."""

from flask import Blueprint, abort, redirect, render_template, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from receiver.actions import bulk_replay
from receiver.present import present_inbox
from receiver.queries.filters import described
from receiver.store.shown import shown
from receiver.web.auth import operator_required
from receiver.web.events import filter_of_request
from receiver.web.present import reason

blueprint = Blueprint("bulk_replays", __name__, url_prefix="/replays")


@blueprint.post("")
@operator_required
def plan() -> Response:
    """Plan a replay of everything that the filter finds."""
    return _show(bulk_replay.plan(present_inbox(), filter_of_request(), actor=current_user.name, reason=reason()))


@blueprint.get("/<row:number>")
@operator_required
def show(number: int) -> str:
    """The plan before it starts, the progress while it runs, and the result at the end."""
    found = bulk_replay.look(present_inbox(), number) or abort(404)
    showing = present_inbox().settings.showing
    return render_template(
        "bulk_replay.html",
        plan=found,
        sample=[shown(row, showing) for row in found.sample],
        filter=described(found.chosen.parameters(), showing),
        left_alone=bulk_replay.LEFT_ALONE,
    )


@blueprint.post("/<row:number>/confirm")
@operator_required
def confirm(number: int) -> Response:
    """Start it, once."""
    bulk_replay.confirm(present_inbox(), number, actor=current_user.name)
    return _show(number)


@blueprint.post("/<row:number>/cancel")
@operator_required
def cancel(number: int) -> Response:
    """Stop it."""
    bulk_replay.cancel(present_inbox(), number, actor=current_user.name)
    return _show(number)


def _show(number: int) -> Response:
    return redirect(url_for("bulk_replays.show", number=number))
