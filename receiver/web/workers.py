"""The page of workers: who lives and what it runs, and how attempts of each event type end and how long they take."""

from collections.abc import Sequence

from flask import Blueprint, render_template, request

from receiver.database.engine import reading
from receiver.present import present_inbox
from receiver.queries.attempts import Attempts, attempts_since
from receiver.queries.filters import choice_in
from receiver.queries.overview import first_hour, follow_ups_asked, summed_at
from receiver.queries.workers import workers
from receiver.registry import RETRY_LATER
from receiver.store.audit import WORKER_LOST
from receiver.store.shown import shown
from receiver.web.auth import viewer_required
from receiver.web.overview import SPANS

RESULTS = ("processed", "failed", "dead", "unhandled", RETRY_LATER, WORKER_LOST, "handed back")
"""How attempts end, in the order of the columns."""

blueprint = Blueprint("workers", __name__, url_prefix="/workers")


@blueprint.get("")
@viewer_required
def index() -> str:
    """Who works, and what came of it."""
    inbox = present_inbox()
    span = choice_in(request.args, "span", SPANS) or "24h"
    start = first_hour(inbox.clock.now(), SPANS[span][0])
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
