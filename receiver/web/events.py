"""The events pages: find events, look at one, replay it, dismiss it. The filter is in the address, so people share it.

A form sends what somebody looks for. The address has it only in a form that may be kept there (privacy/columns.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from receiver.actions.dismiss import CannotDismiss
from receiver.actions.dismiss import dismiss as dismiss_event
from receiver.actions.replay import CannotReplay, can_run_now
from receiver.actions.replay import replay as replay_event
from receiver.actions.reveal import reveal as reveal_column
from receiver.database.engine import reading, writing
from receiver.present import present_inbox, request_id
from receiver.queries.audit_trail import audit_trail
from receiver.queries.count import total
from receiver.queries.filters import (
    Filter,
    Origin,
    Position,
    described,
    from_address,
    from_cursor,
    in_address,
    moment_in,
    to_cursor,
)
from receiver.queries.health import seen_types
from receiver.queries.search import count_failing, counts, follow_ups_of, neighbours, page, stream
from receiver.queries.told import EVENT
from receiver.queries.unusable import look_at
from receiver.store.audit import record
from receiver.store.lifecycle import DISMISSABLE, REPLAYABLE, State
from receiver.store.masked import visible_payload
from receiver.store.models import StoredEvent
from receiver.store.pauses import is_paused, paused_types
from receiver.store.shown import shown
from receiver.web.auth import operator_required, viewer_required
from receiver.web.export import FORMATS
from receiver.web.present import REASON_NEEDED
from receiver.web.present import reason as given_reason
from receiver.web.times import with_zone

blueprint = Blueprint("events", __name__, url_prefix="/events")


@blueprint.get("")
@viewer_required
def index() -> str:
    """The newest events that match, a page at a time."""
    chosen, before, after = filter_of_request(), position("before"), position("after")
    inbox, showing = present_inbox(), present_inbox().settings.showing
    with reading(inbox.engine) as session:
        found = page(session, chosen, before=before, after=after)
        numbers, failing = counts(session, chosen), count_failing(session, chosen)
        types = seen_types(session)
    return render_template(
        "events.html",
        chosen=chosen,
        rows=[shown(row, showing) for row in found.rows],
        capped=found.capped,
        sifted=found.sifted,
        origins=list(Origin),
        looked_for=chosen.term and showing(chosen.term),
        older=found.older and to_cursor(found.older),
        newer=found.newer and to_cursor(found.newer),
        counts=numbers,
        total=total(list(numbers.values())),
        failing=failing,
        types=list(dict.fromkeys(map(showing, types))),
        parameters=address_of(chosen),
        is_newest_page=not (before or after),
    )


@blueprint.post("/find")
@viewer_required
def find() -> Response:
    """Lead to what the form looks for."""
    sent = request.form.to_dict(flat=False)
    parameters: dict[str, Any] = dict(address_of(_filter(sent | with_zone(sent))))
    return redirect(url_for("events.index", **parameters), 303)


@blueprint.get("/export.<form>")
@operator_required
def export(form: str) -> Response:
    """Every event that matches, streamed, without payloads. The export itself is an audit row."""
    inbox, chosen = present_inbox(), filter_of_request()
    if form not in FORMATS:
        abort(404)
    with writing(inbox.engine) as session:
        detail = described(chosen.parameters(), inbox.settings.showing)
        record(session, inbox, "export", f"events as {form}", actor=current_user.name, detail=detail)
    return FORMATS[form](_rows(chosen), EVENT, f"events.{form}")


@blueprint.get("/<row:inbox_id>")
@viewer_required
def show(inbox_id: int) -> str:
    """One event: its envelope, its masked payload and what happened to it."""
    return _page_of(inbox_id, {})


@blueprint.post("/<row:inbox_id>/reveal")
@operator_required
def reveal(inbox_id: int) -> str:
    """The same page with one column in clear text."""
    name = request.form.get("column", "")
    value = reveal_column(present_inbox(), inbox_id, name, actor=current_user.name, request_id=request_id())
    if not value:
        abort(404)
    return _page_of(inbox_id, {name: value})


def _page_of(inbox_id: int, revealed: Mapping[str, str]) -> str:
    inbox, chosen = present_inbox(), filter_of_request()
    with reading(inbox.engine) as session:
        row = session.get(StoredEvent, inbox_id) or abort(404)
        trail = audit_trail(session, row)
        beside = neighbours(session, row, chosen)
        asked = follow_ups_of(session, row.id)
        waits = row.state == State.PENDING and is_paused(row.event_type, paused_types(session))
        seen = session.scalar(sa.select(inbox.now()))  # by the same clock as a replay
    return render_template(
        "event.html",
        row=shown(row, inbox.settings.showing),
        trail=trail.shown(inbox.settings.showing),
        beside=beside,
        follow_ups=[shown(one, inbox.settings.showing) for one in asked],
        revealed=revealed,
        parameters=address_of(chosen),
        masked_payload=lambda: visible_payload(inbox.settings, row),
        unusable=look_at(inbox.settings, row),
        replayable=row.state in REPLAYABLE or can_run_now(inbox, row),
        is_paused=waits,
        dismissable=row.state in DISMISSABLE,
        seen=seen.isoformat() if seen else "",
    )


@blueprint.post("/<row:inbox_id>/replay")
@operator_required
def replay(inbox_id: int) -> Response | str:
    """Make the event due again. If it was already processed, ask once more, and for a reason."""
    inbox, asked = present_inbox(), request.form
    with reading(inbox.engine) as session:
        row = session.get(StoredEvent, inbox_id) or abort(404)
    reason, seen = given_reason(), moment_in(asked, "seen")
    if row.state == State.PROCESSED and not (asked.get("sure") and reason):
        row_shown = shown(row, inbox.settings.showing)
        return render_template("replay_again.html", row=row_shown, seen=asked.get("seen", ""))
    try:
        flash(replay_event(inbox, inbox_id, actor=current_user.name, reason=reason, unless_since=seen))
    except CannotReplay as error:
        flash(str(error))
    return redirect(url_for("events.show", inbox_id=inbox_id))


@blueprint.post("/<row:inbox_id>/dismiss")
@operator_required
def dismiss(inbox_id: int) -> Response:
    """Close the event, for a reason."""
    inbox, reason = present_inbox(), given_reason()
    if reason is None:
        flash(REASON_NEEDED)
        return redirect(url_for("events.show", inbox_id=inbox_id))
    try:
        seen = moment_in(request.form, "seen")
        flash(dismiss_event(inbox, inbox_id, actor=current_user.name, reason=reason, unless_since=seen))
    except CannotDismiss as error:
        if error.reason == "not_found":
            abort(404)
        flash(str(error))
    return redirect(url_for("events.show", inbox_id=inbox_id))


def filter_of_request() -> Filter:
    """The filter in the address. Raises BadFilter."""
    return _filter(request.args.to_dict(flat=False))


def address_of(chosen: Filter) -> dict[str, list[str]]:
    """The filter as an address has it."""
    return in_address(chosen.parameters(), present_inbox().settings.showing)


def _filter(parameters: Mapping[str, Sequence[str]]) -> Filter:
    return Filter.from_parameters(from_address(parameters, present_inbox().settings.showing))


def position(name: str) -> Position | None:
    """The place in the address by this name. Raises BadFilter."""
    text = request.args.get(name)
    return from_cursor(text) if text else None


def _rows(chosen: Filter) -> Iterator[dict[str, Any]]:
    inbox = present_inbox()
    for found in stream(inbox.engine, chosen):
        row = shown(found, inbox.settings.showing)
        yield {column: getattr(row, column) for column in EVENT}
