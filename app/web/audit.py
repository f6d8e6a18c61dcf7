"""The audit log page: §9.2's columns first, filters, export."""

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, abort, render_template, request
from flask_login import current_user, login_required

from app.database import reading, writing
from app.inbox.audit import record
from app.inbox.filters import Position, choice_in, from_cursor, moment_in, text_in, to_cursor
from app.inbox.queries import AUDIT_PAGE, AuditFilter, list_audit
from app.web.auth import operator_required
from app.web.export import FORMATS
from app.web.present import present_inbox

ACTIONS = (
    "delivery", "attempt", "replay", "bulk replay", "sign_in", "sign_out", "users", "capture", "relay", "export",
    "support", "purge",
)  # fmt: skip
COLUMNS = [
    "event_id", "at", "event_type", "result", "action", "occurrences", "actor", "request_id", "duration_ms", "detail",
    "recorded_at",
]  # fmt: skip

blueprint = Blueprint("audit", __name__, url_prefix="/audit")


@blueprint.get("")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login has no types
def index() -> str:
    """The newest rows first, a page at a time."""
    with reading(present_inbox().engine) as session:
        rows = list_audit(session, _chosen(), before=_position())
    older = to_cursor((rows[-1].at, rows[-1].id)) if len(rows) == AUDIT_PAGE else None
    return render_template("audit.html", rows=rows, older=older, actions=ACTIONS, parameters=_parameters())


@blueprint.get("/export.<form>")
@operator_required
def export(form: str) -> Response:
    """Every row that fits, streamed. That somebody took them is an audit row too."""
    if form not in FORMATS:
        abort(404)
    inbox, chosen = present_inbox(), _chosen()
    with writing(inbox.engine) as session:
        record(session, inbox, "export", f"audit log as {form}", actor=current_user.name, detail=str(_parameters()))
    return FORMATS[form](_all_rows(chosen), COLUMNS, f"audit-log.{form}")


def _all_rows(chosen: AuditFilter) -> Iterator[dict[str, Any]]:
    inbox, before = present_inbox(), None
    while True:
        with reading(inbox.engine) as session:
            rows = list_audit(session, chosen, before=before, limit=1000)
        yield from ({column: getattr(row, column) for column in COLUMNS} for row in rows)
        if len(rows) < 1000:
            return
        before = (rows[-1].at, rows[-1].id)


def _chosen() -> AuditFilter:
    """The filter in the address. Raises BadFilter."""
    asked = request.args
    return AuditFilter(
        event_id=text_in(asked, "event_id"),
        action=choice_in(asked, "action", ACTIONS),
        since=moment_in(asked, "since"),
        until=moment_in(asked, "until"),
    )


def _position() -> Position | None:
    text = request.args.get("before")
    return from_cursor(text) if text else None


def _parameters() -> dict[str, str]:
    return {name: request.args[name] for name in ("event_id", "action", "since", "until") if request.args.get(name)}
