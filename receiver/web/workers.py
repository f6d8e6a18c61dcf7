"""The page of workers: who lives and what it runs, and how attempts of each event type end and how long they take."""

from collections.abc import Sequence
from datetime import timedelta

from flask import Blueprint, render_template, request

from receiver.database.engine import reading
from receiver.present import present_inbox
from receiver.queries.attempts import Attempts, attempts_since
from receiver.queries.filters import choice_in
from receiver.queries.overview import follow_ups_asked, summed_at
from receiver.queries.workers import workers
from receiver.store.shown import shown
from receiver.web.auth import viewer_required

SPANS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
RESULTS = ("processed", "failed", "dead", "unhandled", "retry later", "worker lost", "handed back")
"""How attempts end, in the order of the columns."""

blueprint = Blueprint("workers", __name__, url_prefix="/workers")


@blueprint.get("")
@viewer_required
def index() -> str:
    """Who works, and what came of it."""
    inbox = present_inbox()
    span = choice_in(request.args, "span", SPANS) or "24h"
    start = inbox.clock.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1) - SPANS[span]
    with reading(inbox.engine) as session:
        found = workers(session, inbox)
        attempts = attempts_since(session, start)
        asked, at = follow_ups_asked(session, start), summed_at(session)
    return render_template(
        "workers.html",
        living=[(one, shown(one.running, inbox.settings.showing) if one.running else None) for one in found.living],
        gone=found.gone,
        attempts=attempts,
        total=_total(attempts),
        results=RESULTS,
        follow_ups=asked,
        as_of=at,
        span=span,
        spans=SPANS,
    )


def _total(attempts: Sequence[Attempts]) -> Attempts:
    total = Attempts("all types")
    for found in attempts:
        total.results.update(found.results)
        total.buckets.update(found.buckets)
    return total
