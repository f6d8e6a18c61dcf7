"""The page of failures by their cause: what goes wrong, how often, since when, and whether it is new."""

from datetime import datetime, timedelta

from flask import Blueprint, render_template, request
from sqlalchemy.orm import Session

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
    inbox = present_inbox()
    with reading(inbox.engine) as session:
        since = since_of_request(session)
        found = failures(session, since)
    return render_template(
        "failures.html",
        groups=[(group, shown(group.sample, inbox.settings.showing)) for group in found.groups],
        capped=found.capped,
        most=MOST,
        since=since,
        chosen=_chosen(),
        spans=SPANS,
    )


def since_of_request(session: Session) -> datetime | None:
    """Since when a cause counts as new. None when no worker lives. Raises BadFilter."""
    now, span = present_inbox().clock.now(), SPANS[_chosen()]
    return now - span if span else workers_began(session, now - WORKER_SILENCE)


def _chosen() -> str:
    return choice_in(request.args, "since", SPANS) or "start"
