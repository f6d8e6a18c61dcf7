"""One policy, transaction or claim: all its events in the order in which they occurred, and our own tables beside."""

from collections.abc import Callable, Mapping

from flask import Blueprint, abort, render_template, request
from flask_login import login_required

from app.database import reading
from app.inbox.filters import is_reference
from app.inbox.shown import shown_part
from app.inbox.subject import KINDS, Place, subject
from app.registry import Describer, describers_of
from app.web.present import present_inbox

blueprint = Blueprint("subjects", __name__, url_prefix="/subjects")


@blueprint.get("/<kind>/<path:reference>")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login has no types
def show(kind: str, reference: str) -> str:
    """The life of the cover, from payment to claim."""
    if kind not in KINDS or not is_reference(reference):
        abort(404)
    before = request.args.get("before")
    place = Place.parse(before) if before else None
    with reading(present_inbox().engine) as session:
        story = subject(session, kind, reference, before=place)
    asked = ((title, shown_part(title, _row(describer, reference))) for title, describer in describers_of(kind))
    described = [(title, found) for title, found in asked if found is None or found[0] is not None]
    return render_template("subject.html", kind=kind, reference=reference, story=story, described=described)


def _row(describer: Describer, reference: str) -> Callable[[], tuple[object]]:
    """Asks in a session of its own: what one describer does to its session is nothing to the others."""

    def ask() -> tuple[object]:
        with reading(present_inbox().engine) as session:
            row = describer(session, reference)
            return (dict(row) if isinstance(row, Mapping) else row,)

    return ask
