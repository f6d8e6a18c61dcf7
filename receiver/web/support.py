"""A support request (§12.2). The page shows its text; a person sends it."""

from datetime import timedelta

from flask import Blueprint, abort, render_template, request
from flask_login import current_user

from receiver.actions.support import ADDRESS, mail_address, request_for_event, request_for_time
from receiver.database.engine import reading, writing
from receiver.present import present_inbox
from receiver.protocol.moments import moved
from receiver.queries.filters import moment_in
from receiver.store.audit import record
from receiver.store.models import StoredEvent
from receiver.web.auth import viewer_required

blueprint = Blueprint("support", __name__, url_prefix="/support")


@blueprint.get("/events/<row:inbox_id>")
@viewer_required
def event(inbox_id: int) -> str:
    """The request for one event."""
    inbox = present_inbox()
    with reading(inbox.engine) as session:
        row = session.get(StoredEvent, inbox_id) or abort(404)
    text = request_for_event(inbox, row)
    with writing(inbox.engine) as session:
        record(
            session, inbox, "support", "request shown", event_id=row.event_id or row.stated_event_id,
            event_type=row.event_type, actor=current_user.name, inbox_id=row.id,
        )  # fmt: skip
    return render_template("support.html", text=text, mail=mail_address(text), address=ADDRESS)


@blueprint.get("/time")
@viewer_required
def time() -> str:
    """The request for a time in which deliveries were refused. The default is the last hour."""
    inbox = present_inbox()
    until = moment_in(request.args, "until") or inbox.clock.now()
    since = moment_in(request.args, "since") or moved(until, timedelta(hours=-1))
    text = request_for_time(inbox, since, until)
    return render_template(
        "support.html", text=text, mail=mail_address(text), address=ADDRESS, since=since, until=until
    )
