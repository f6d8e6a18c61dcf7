"""The page of failures by their cause: what goes wrong, how often, since when, and whether it is new."""

from datetime import timedelta

from flask import Blueprint, render_template, request

from receiver.database.engine import reading
from receiver.present import present_inbox
from receiver.queries.failures import MOST, failures, workers_began
from receiver.queries.filters import choice_in
from receiver.queries.workers import WORKER_SILENCE
from receiver.store.shown import shown
from receiver.web.auth import viewer_required

SPANS = {"start": None, "24h": timedelta(hours=24), "7d": timedelta(days=7)}
"""Since when a cause counts as new. `start`: since the workers that live were started, which is the last deploy."""

blueprint = Blueprint("failures", __name__, url_prefix="/failures")


@blueprint.get("")
@viewer_required
def index() -> str:
    """New causes first, then the most frequent ones."""
    inbox, now = present_inbox(), present_inbox().clock.now()
    chosen = choice_in(request.args, "since", SPANS) or "start"
    span = SPANS[chosen]
    with reading(inbox.engine) as session:
        since = now - span if span else workers_began(session, now - WORKER_SILENCE)
        found = failures(session, since)
    return render_template(
        "failures.html",
        groups=[(group, shown(group.sample, inbox.settings.showing)) for group in found.groups],
        capped=found.capped,
        most=MOST,
        since=since,
        chosen=chosen,
        spans=SPANS,
    )
