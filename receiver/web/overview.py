"""The page to open in the morning: is all well? If not, since when?

receiver/queries/conditions.py decides what it warns of, and answers.py which question that answers.
"""

from flask import Blueprint, render_template, request

from receiver.present import present_inbox
from receiver.queries.conditions import conditions
from receiver.queries.filters import choice_in
from receiver.queries.health import DEFAULT_LIMITS
from receiver.queries.health import health as health_now
from receiver.queries.overview import overview
from receiver.store.shown import shown_part
from receiver.web.answers import answers
from receiver.web.auth import viewer_required
from receiver.web.chart import SERIES, chart

SPANS = {"24h": (24, 1), "7d": (7 * 24, 6), "30d": (30 * 24, 24)}
"""How many hours to look back, and how many hours a bar stands for."""
ATTEMPTS = ("processed", "failed", "dead")
"""The results of attempts that are summed in the line below the chart."""

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
@viewer_required
def index() -> str:
    """The state of the endpoint at a glance."""
    inbox = present_inbox()
    span = choice_in(request.args, "span", SPANS) or "24h"
    hours, hours_a_bar = SPANS[span]
    found, health = overview(inbox, hours), health_now(inbox)
    warnings = shown_part("warnings", lambda: conditions(health, DEFAULT_LIMITS))
    return render_template(
        "overview.html",
        found=found,
        span=span,
        spans=SPANS,
        health=health,
        warnings=warnings,
        answers=[] if warnings is None else answers(health, warnings),
        chart=chart(found.hours, hours_a_bar),
        series=SERIES,
        attempts=ATTEMPTS,
        masking_works=not health.unmasked,
        weaknesses=inbox.settings.weaknesses,
    )
