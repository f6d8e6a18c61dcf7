"""How people read moments: how long ago, in Malaysian time with UTC beside, or in UTC.

The choice is a cookie of its own, for a year: it says nothing about anybody, and outlives the session. Forms take
moments as the page shows them. An address always has the zone, so it means the same for everybody. To offer another
way, add it to `CHOICES`, and to `when()` in macros.html.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo

from flask import Blueprint, Flask, current_app, redirect, request, url_for
from werkzeug.wrappers import Response

from receiver.actions.support import MALAYSIA
from receiver.present import present_inbox
from receiver.protocol.moments import written
from receiver.queries.filters import choice_in
from receiver.web.auth import own_path, viewer_required

CHOICES = {"ago": "how long ago", "malaysia": "Malaysian time", "utc": "UTC"}
COOKIE = "times"
MOMENTS = ("since", "until")
"""The fields of forms that hold moments."""
_YEAR_SECONDS = 366 * 86400
_WITHOUT_ZONE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?")

blueprint = Blueprint("times", __name__)


@blueprint.post("/times")
@viewer_required
def choose() -> Response:
    """Remember the choice, and lead back to the page."""
    chosen = choice_in(request.form, "times", CHOICES) or "ago"
    response = redirect(own_path(request.form.get("next", "")) or url_for("overview.index"), 303)
    response.set_cookie(
        COOKIE, chosen, max_age=_YEAR_SECONDS, path=current_app.config.get("SESSION_COOKIE_PATH") or "/",
        secure=request.is_secure or present_inbox().settings.require_https, httponly=True, samesite="Lax",
    )  # fmt: skip
    return response


def present_times() -> str:
    """The reader's choice."""
    chosen = request.cookies.get(COOKIE, "")
    return chosen if chosen in CHOICES else "ago"


def malaysian(moment: datetime) -> str:
    """The moment as a clock in Malaysia shows it."""
    return f"{written(moment, MALAYSIA)} MYT"


def utc_beside(moment: datetime) -> str:
    """The same moment in UTC, with its date where that is another one."""
    utc, local = written(moment), written(moment, MALAYSIA)
    return f"{utc[11:] if utc[:10] == local[:10] else utc} UTC"


def clock(moment: datetime) -> str:
    """The moment to the minute, in the zone of the reader's choice."""
    return f"{written(moment, _zone())[:-3]} {'MYT' if _zone() is MALAYSIA else 'UTC'}"


def for_field(moment: datetime | None) -> str:
    """The moment as a form's field takes it, to the minute, in the zone of the reader's choice."""
    return written(moment, _zone())[:-3].replace(" ", "T") if moment else ""


def zone_name() -> str:
    """What the zone of the reader's choice is called beside a form's field."""
    return CHOICES["malaysia"] if _zone() is MALAYSIA else "UTC"


def with_zone(form: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The moments that a form sent, with the zone in which the page showed them."""
    offset = "+08:00" if _zone() is MALAYSIA else ""
    return {
        name: [f"{text}{offset}" if _WITHOUT_ZONE.fullmatch(text) else text for text in texts]
        for name, texts in form.items()
        if name in MOMENTS
    }


def init_app(app: Flask) -> None:
    """Give the templates the choice, and the filters that follow it."""
    app.jinja_env.globals |= {"times": present_times, "times_choices": CHOICES, "zone_name": zone_name}
    app.jinja_env.filters |= {
        "malaysian": malaysian, "utc_beside": utc_beside, "clock": clock, "for_field": for_field,
    }  # fmt: skip


def _zone() -> tzinfo:
    return MALAYSIA if present_times() == "malaysia" else UTC
