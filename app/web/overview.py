"""The page to open in the morning: is all well, and since when not?

To warn of something else, add a sentence to `_warnings()`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from flask import Blueprint, render_template, request
from flask_login import login_required

from app.inbox import queries
from app.inbox.context import Inbox
from app.inbox.statistics import Overview, overview
from app.privacy.masking import masking_self_test
from app.web.chart import SERIES, chart
from app.web.present import present_inbox

SPANS = {"24h": (24, 1), "7d": (7 * 24, 6), "30d": (30 * 24, 24)}
"""Hours to look back, and hours to a bar."""
MOST_FAILED_IN_A_ROW = 5
LONGEST_BACKLOG = timedelta(minutes=5)
LONGEST_SILENCE = timedelta(days=1)

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login has no types
def index() -> str:
    """The state of the endpoint at a glance."""
    inbox = present_inbox()
    span = request.args.get("span") if request.args.get("span") in SPANS else "24h"
    hours, hours_a_bar = SPANS[str(span)]
    found, unmasked = overview(inbox, hours), masking_self_test()
    return render_template(
        "overview.html",
        found=found,
        span=span,
        spans=SPANS,
        warnings=list(_warnings(inbox, found, unmasked)),
        chart=chart(found.hours, hours_a_bar),
        series=SERIES,
        masking_works=not unmasked,
    )


def _warnings(inbox: Inbox, found: Overview, unmasked: list[str]) -> Iterator[str]:
    """What somebody should look at, the worst first (§6.4, §10.1)."""
    now = inbox.clock.now()
    if found.oldest_due and queries.no_worker_seen(inbox):
        yield "Events are due and no worker was seen for a minute. Start one: flask --app wsgi worker"
    if found.failed_in_a_row >= MOST_FAILED_IN_A_ROW:
        yield (
            f"{found.failed_in_a_row:,} answers in a row were refusals. Senang.io may suspend an endpoint that keeps "
            "failing (§10.1): look at the audit log, and at Captures in the sandbox."
        )
    if _is_older(found.oldest_due, LONGEST_BACKLOG, now):
        yield "Events have been due for more than five minutes: handlers are slow or failing, or workers too few."
    if found.dead.number:
        events = "event has" if str(found.dead) == "1" else "events have"
        yield f"{found.dead} {events} used up all attempts and died: mend the cause, then replay."
    if _is_older(found.last_delivery, LONGEST_SILENCE, now):
        yield "Nothing authentic has come for a day. Is the endpoint suspended (§10.1), or its address changed?"
    if unmasked:
        yield f"The masking self-test failed for {', '.join(unmasked)}: do not trust what is shown until it is mended."


def _is_older(moment: datetime | None, than: timedelta, now: datetime) -> bool:
    return moment is not None and now - moment > than
