"""The pages of captured deliveries, with the doctor's diagnosis of each: how it is signed, and the right settings."""

import json

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from receiver.actions.apply_settings import NotApplied, apply_settings, revoke_settings, why_not
from receiver.green import Crowded
from receiver.ingest import captures
from receiver.present import present_inbox
from receiver.protocol.captured import Captured
from receiver.sandbox.diagnosis import env_lines
from receiver.store.applied import Applied, applied_settings
from receiver.store.inbox import Inbox
from receiver.store.models import CapturedDelivery
from receiver.store.shown import shown_part
from receiver.web.auth import operator_required
from receiver.web.diagnoses import diagnosis_beside

MINUTES = 10
LONGEST_TEXT = 200

blueprint = Blueprint("captures", __name__, url_prefix="/captures")


@blueprint.get("")
@operator_required
def index() -> str:
    """What was captured, and whether capturing goes on."""
    inbox = present_inbox()
    return render_template(
        "captures.html",
        rows=captures.kept(inbox),
        window=captures.present_window(inbox),
        left_out=captures.left_out(inbox),
        most_per_address=captures.MOST_PER_ADDRESS,
        most=captures.RING,
        minutes=MINUTES,
        weaknesses=inbox.settings.weaknesses,
        applied=_applied(inbox),
        why_not_applied=why_not(inbox),
        env_lines=env_lines,
    )


@blueprint.get("/<row:capture_id>")
@operator_required
def show(capture_id: int) -> str:
    """The diagnosis of one captured delivery, and a rehearsal of its settings on all of them.

    The delivery itself is not shown: its sender is unknown.
    """
    inbox = present_inbox()
    rows = captures.kept(inbox)
    row = next((row for row in rows if row.id == capture_id), None) or abort(404)
    captured = _opened(inbox, row) or abort(410)
    others = [other for one in rows if one.id != capture_id and (other := _opened(inbox, one))]
    text = request.args.get("text", "").strip()[:LONGEST_TEXT]
    texts, secrets = [text, inbox.settings.partner_id], inbox.settings.webhook_secrets
    try:
        diagnosis = diagnosis_beside([captured, *others], secrets, texts, asked_by=current_user.name)
    except Crowded:
        abort(503, "Other diagnoses are running. Try again in a few seconds.")
    refusal = why_not(inbox)
    return render_template("capture.html", row=row, diagnosis=diagnosis, why_not_applied=refusal, text=text)


def _opened(inbox: Inbox, row: CapturedDelivery) -> Captured | None:
    """The delivery in clear text. None where it can't be unsealed."""
    return shown_part("capture", lambda: captures.open_capture(inbox, row))


def _applied(inbox: Inbox) -> Applied | None:
    """What is applied. None where nothing is, or where it can't be unsealed."""
    return shown_part("applied", lambda: applied_settings(inbox.engine, inbox.settings.payload_keys))


@blueprint.post("/apply")
@operator_required
def apply() -> Response:
    """Let the settings of the form count, for all processes at once: what the operator saw is what is applied."""
    try:
        settings = json.loads(request.form.get("settings", ""))
    except ValueError:
        settings = None
    if not isinstance(settings, dict) or not all(isinstance(value, str) for value in settings.values()):
        abort(400)
    try:
        apply_settings(present_inbox(), settings, actor=current_user.name)
        flash("Applied. Let Senang.io send a delivery now: the answer should be 200.")
    except NotApplied as error:
        flash(str(error))
    return redirect(url_for("captures.index"))


@blueprint.post("/revoke")
@operator_required
def revoke() -> Response:
    """Let the environment's settings count again."""
    is_revoked = revoke_settings(present_inbox(), actor=current_user.name)
    flash("Revoked. The settings of the environment count again." if is_revoked else "Nothing was applied.")
    return redirect(url_for("captures.index"))


@blueprint.post("/open")
@operator_required
def open_() -> Response:
    """Start capturing, for a while."""
    try:
        captures.open_window(present_inbox(), minutes=MINUTES, count=captures.RING, actor=current_user.name)
        flash(f"Capturing for {MINUTES} minutes. Let Senang.io send a delivery now.")
    except captures.CaptureRefused as error:
        flash(str(error))
    return redirect(url_for("captures.index"))


@blueprint.post("/close")
@operator_required
def close() -> Response:
    """Stop capturing."""
    captures.close_window(present_inbox(), actor=current_user.name)
    flash("Capturing has stopped.")
    return redirect(url_for("captures.index"))
