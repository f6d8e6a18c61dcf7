"""The audit log page: §9.2's columns first, filters, export."""

from collections.abc import Iterator, Mapping
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from receiver.database.engine import reading, writing
from receiver.present import present_inbox
from receiver.queries.audit_trail import AUDIT_PAGE, AuditFilter, list_audit
from receiver.queries.filters import (
    Position,
    choice_in,
    described,
    from_address,
    from_cursor,
    in_address,
    moment_in,
    text_in,
    to_cursor,
)
from receiver.queries.told import AUDIT
from receiver.store.audit import record
from receiver.store.shown import shown
from receiver.web.auth import operator_required, viewer_required
from receiver.web.export import FORMATS
from receiver.web.times import with_zone

ACTIONS = (
    "delivery", "attempt", "replay", "dismiss", "pause", "bulk replay", "bulk dismiss", "sign_in", "sign_out",
    "lockout", "second_factor", "users", "tokens", "capture", "settings", "relay", "export", "reveal", "person",
    "support", "purge",
)  # fmt: skip
FILTER = ("event_id", "action", "since", "until")

blueprint = Blueprint("audit", __name__, url_prefix="/audit")


@blueprint.get("")
@viewer_required
def index() -> str:
    """The newest rows first, a page at a time."""
    with reading(present_inbox().engine) as session:
        rows = list_audit(session, filter_of_request(), before=position())
    older = to_cursor((rows[-1].at, rows[-1].id)) if len(rows) == AUDIT_PAGE else None
    return render_template(
        "audit.html",
        rows=[shown(row, present_inbox().settings.showing) for row in rows],
        older=older,
        actions=ACTIONS,
        chosen=filter_of_request(),
        parameters=_in_address(_asked()),
    )


@blueprint.post("/find")
@viewer_required
def find() -> BaseResponse:
    """Lead to what the form looks for."""
    moments = {name: texts[0] for name, texts in with_zone(request.form.to_dict(flat=False)).items()}
    parameters: dict[str, Any] = dict(_in_address(_opened(request.form.to_dict() | moments)))
    return redirect(url_for("audit.index", **parameters), 303)


@blueprint.get("/export.<form>")
@operator_required
def export(form: str) -> Response:
    """Every row that matches, streamed. The export itself is an audit row too."""
    if form not in FORMATS:
        abort(404)
    inbox, chosen = present_inbox(), filter_of_request()
    with writing(inbox.engine) as session:
        record(session, inbox, "export", f"audit log as {form}", actor=current_user.name, detail=_described())
    return FORMATS[form](_all_rows(chosen), AUDIT, f"audit-log.{form}")


def _all_rows(chosen: AuditFilter) -> Iterator[dict[str, Any]]:
    inbox, before = present_inbox(), None
    while True:
        with reading(inbox.engine) as session:
            rows = list_audit(session, chosen, before=before, limit=1000)
        for found in rows:
            row = shown(found, inbox.settings.showing)
            yield {column: getattr(row, column) for column in AUDIT}
        if len(rows) < 1000:
            return
        before = (rows[-1].at, rows[-1].id)


def filter_of_request() -> AuditFilter:
    """The filter in the address. Raises BadFilter."""
    asked = _asked()
    return AuditFilter(
        event_id=text_in(asked, "event_id"),
        action=choice_in(asked, "action", ACTIONS),
        since=moment_in(asked, "since"),
        until=moment_in(asked, "until"),
    )


def position() -> Position | None:
    """Behind which row the page begins. Raises BadFilter."""
    text = request.args.get("before")
    return from_cursor(text) if text else None


def _asked() -> dict[str, str]:
    return _opened(request.args)


def _opened(given: Mapping[str, str]) -> dict[str, str]:
    """The parameters of the filter, with those that an address has only sealed."""
    parameters = {name: [given[name]] for name in FILTER if given.get(name)}
    return {name: values[0] for name, values in from_address(parameters, present_inbox().settings.showing).items()}


def _in_address(parameters: Mapping[str, str]) -> dict[str, str]:
    several = {name: [value] for name, value in parameters.items()}
    return {name: values[0] for name, values in in_address(several, present_inbox().settings.showing).items()}


def _described() -> str:
    return described({name: [value] for name, value in _asked().items()}, present_inbox().settings.showing)
