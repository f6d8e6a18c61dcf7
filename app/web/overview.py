"""The page to open in the morning: is all well, and since when not?

What it warns of is decided in app/inbox/conditions.py.
"""

from flask import Blueprint, render_template, request
from flask_login import login_required

from app.inbox import queries
from app.inbox.conditions import conditions
from app.inbox.filters import choice_in
from app.inbox.shown import shown_part
from app.inbox.statistics import overview
from app.web.chart import SERIES, chart
from app.web.present import present_inbox

SPANS = {"24h": (24, 1), "7d": (7 * 24, 6), "30d": (30 * 24, 24)}
"""Hours to look back, and hours to a bar."""

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login has no types
def index() -> str:
    """The state of the endpoint at a glance."""
    inbox = present_inbox()
    span = choice_in(request.args, "span", SPANS) or "24h"
    hours, hours_a_bar = SPANS[span]
    found, health = overview(inbox, hours), queries.health(inbox)
    return render_template(
        "overview.html",
        found=found,
        span=span,
        spans=SPANS,
        health=health,
        warnings=shown_part(
            "warnings", lambda: [found.sentence for found in conditions(health, queries.DEFAULT_LIMITS)]
        ),
        chart=chart(found.hours, hours_a_bar),
        series=SERIES,
        masking_works=not health.unmasked,
    )
