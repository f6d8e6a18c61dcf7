"""The events page: what came, what became of it, and the button that runs it again."""

import json
from datetime import datetime
from typing import cast

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required
from werkzeug.wrappers import Response

from app.database import reading
from app.inbox import queries
from app.inbox import replay as replays
from app.inbox.context import Inbox
from app.inbox.lifecycle import REPLAYABLE, State
from app.inbox.models import StoredEvent
from app.web.auth import operator_required

blueprint = Blueprint("events", __name__)


@blueprint.get("/")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login has no types
def home() -> Response:
    """The page is the events page."""
    return redirect(url_for("events.index"))


@blueprint.get("/events")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login has no types
def index() -> str:
    """The newest events, a page at a time."""
    inbox = _inbox()
    state = request.args.get("state") or None
    if state is not None and state not in set(State):
        abort(404)
    with reading(inbox.engine) as session:
        rows = queries.list_events(session, state=state, before=_before(request.args.get("before")))
    return render_template(
        "events.html",
        rows=rows,
        state=state,
        states=list(State),
        health=queries.health(inbox),
        settings=inbox.settings,
        older=_cursor(rows[-1]) if len(rows) == queries.PAGE else None,
    )


@blueprint.get("/events/<int:inbox_id>")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login has no types
def show(inbox_id: int) -> str:
    """One event: its envelope, its masked payload and its audit trail."""
    inbox = _inbox()
    with reading(inbox.engine) as session:
        row = session.get(StoredEvent, inbox_id) or abort(404)
        trail = queries.audit_trail(session, row)
    masked = json.dumps(json.loads(row.masked_payload), indent=2) if row.masked_payload else None
    return render_template(
        "event.html",
        row=row,
        trail=trail,
        masked=masked,
        settings=inbox.settings,
        replayable=row.state in REPLAYABLE,
    )


@blueprint.post("/events/<int:inbox_id>/replay")
@operator_required
def replay(inbox_id: int) -> Response:
    """Make the event due again."""
    try:
        flash(replays.replay(_inbox(), inbox_id, actor=current_user.name))
    except replays.CannotReplay as error:
        flash(str(error))
    return redirect(url_for("events.show", inbox_id=inbox_id))


def _inbox() -> Inbox:
    return cast(Inbox, current_app.extensions["inbox"])


def _cursor(row: StoredEvent) -> str:
    return f"{row.received_at.isoformat()}~{row.id}"


def _before(cursor: str | None) -> tuple[datetime, int] | None:
    if not cursor:
        return None
    moment, _, number = cursor.partition("~")
    try:
        return datetime.fromisoformat(moment), int(number)
    except ValueError:
        abort(404)
