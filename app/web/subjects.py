"""One policy, transaction or claim: all its events in the order in which they occurred, and our own tables beside."""

from flask import Blueprint, abort, render_template, request
from flask_login import login_required

from app.database import reading
from app.inbox.filters import BadFilter
from app.inbox.subject import KINDS, Place, subject
from app.registry import describe
from app.web.present import present_inbox

blueprint = Blueprint("subjects", __name__, url_prefix="/subjects")


@blueprint.get("/<kind>/<path:reference>")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login has no types
def show(kind: str, reference: str) -> str:
    """The life of the cover, from payment to claim."""
    if kind not in KINDS:
        abort(404)
    before = request.args.get("before")
    try:
        place = Place.parse(before) if before else None
    except BadFilter:
        abort(404)
    with reading(present_inbox().engine) as session:
        story = subject(session, kind, reference, before=place)
        described = describe(kind, reference, session)
    return render_template("subject.html", kind=kind, reference=reference, story=story, described=described)
