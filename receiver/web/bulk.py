"""The pages of a bulk act: plan, confirm, progress, cancel. receiver/actions/bulk.py does the work."""

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from receiver.actions import bulk
from receiver.actions.bulk import Act
from receiver.present import present_inbox
from receiver.queries.filters import choice_in, described
from receiver.store.shown import shown
from receiver.web.auth import operator_required
from receiver.web.events import address_of, filter_of_request
from receiver.web.present import REASON_NEEDED, reason

DONE = {Act.REPLAY: "replayed", Act.DISMISS: "dismissed"}

blueprint = Blueprint("bulk", __name__, url_prefix="/bulk")


@blueprint.post("")
@operator_required
def plan() -> Response:
    """Plan an act on everything that the filter finds."""
    chosen, act = filter_of_request(), Act(choice_in(request.form, "act", set(Act)) or Act.REPLAY)
    try:
        return _show(bulk.plan(present_inbox(), chosen, actor=current_user.name, reason=reason(), act=act))
    except ValueError:
        flash(REASON_NEEDED)
        parameters: dict[str, Any] = dict(address_of(chosen))
        return redirect(url_for("events.index", **parameters))


@blueprint.get("/<row:number>")
@operator_required
def show(number: int) -> str:
    """The plan before it starts, the progress while it runs, and the result at the end."""
    found = bulk.look(present_inbox(), number) or abort(404)
    showing = present_inbox().settings.showing
    return render_template(
        "bulk.html",
        plan=found,
        sample=[shown(row, showing) for row in found.sample],
        filter=described(found.chosen.parameters(), showing),
        left_alone=bulk.LEFT_ALONE,
        done=DONE[Act(found.job.act)],
    )


@blueprint.post("/<row:number>/confirm")
@operator_required
def confirm(number: int) -> Response:
    """Start it, once."""
    bulk.confirm(present_inbox(), number, actor=current_user.name)
    return _show(number)


@blueprint.post("/<row:number>/cancel")
@operator_required
def cancel(number: int) -> Response:
    """Stop it."""
    bulk.cancel(present_inbox(), number, actor=current_user.name)
    return _show(number)


def _show(number: int) -> Response:
    return redirect(url_for("bulk.show", number=number))
