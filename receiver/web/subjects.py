"""The page of one policy, transaction or claim: all its events as they happened, beside the partner's own tables."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flask import Blueprint, abort, render_template, request

from receiver.database.engine import reading
from receiver.present import present_inbox
from receiver.privacy.columns import Showing
from receiver.privacy.masking import mask_text
from receiver.queries.filters import fits_a_column
from receiver.queries.subject import KINDS, Place, Story, subject
from receiver.registry import Describer, describers_of
from receiver.store.shown import CHOSEN, shown, shown_part
from receiver.web.auth import viewer_required

blueprint = Blueprint("subjects", __name__, url_prefix="/subjects")


@blueprint.get("/<kind>/<path:reference>")
@viewer_required
def show(kind: str, reference: str) -> str:
    """The life of the subject, such as a cover from payment to claim."""
    inbox, showing = present_inbox(), present_inbox().settings.showing
    reference = showing.from_address(reference)
    if kind not in KINDS or not fits_a_column(reference):
        abort(404)
    before = request.args.get("before")
    place = Place.parse(before) if before else None
    with reading(inbox.engine) as session:
        story = subject(session, kind, reference, before=place)
    asked = ((title, shown_part(title, _row(describer, reference))) for title, describer in describers_of(kind))
    described = [(title, found) for title, found in asked if found is None or found[0] is not None]
    return render_template(
        "subject.html",
        kind=kind,
        reference=showing(reference),
        reference_in_address=showing.in_address(reference),
        story=replace(story, chapters=[replace(one, row=shown(one.row, showing)) for one in story.chapters]),
        described=_without(_hidden(reference, story, showing), described),
    )


def _hidden(reference: str, story: Story, showing: Showing) -> dict[str, str]:
    """The values of this story that are hidden, and what is shown instead of each."""
    texts = {getattr(one.row, name) for one in story.chapters for name in CHOSEN} | {reference}
    return {text: showing(text) for text in texts if text and showing.hides(text)}


def _without(hidden: Mapping[str, str], value: Any) -> Any:
    """What a describer says, at any depth: masked, and with the short forms of hidden values."""
    if isinstance(value, str):
        return hidden.get(value) or mask_text(value)
    if isinstance(value, Mapping):
        return {name: _without(hidden, item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without(hidden, item) for item in value]
    return value


def _row(describer: Describer, reference: str) -> Callable[[], tuple[object]]:
    """A function that asks one describer, in a session of its own: it can't disturb the others."""

    def ask() -> tuple[object]:
        with reading(present_inbox().engine) as session:
            row = describer(session, reference)
            return (dict(row) if isinstance(row, Mapping) else row,)

    return ask
