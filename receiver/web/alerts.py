"""The page of alerts: what needs a person, who knows of it, and whether the channels of ALERT_URLS work."""

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from receiver.actions import alerts
from receiver.alerts.channels import channels_of
from receiver.present import present_inbox
from receiver.queries.alerts import channel_states, watched
from receiver.queries.conditions import CODES, conditions
from receiver.queries.filters import choice_in
from receiver.queries.health import DEFAULT_LIMITS, health
from receiver.store.shown import shown_part
from receiver.web.auth import operator_required, viewer_required

NOT_KNOWN = "Nothing was done: no worker has noted this condition, or it is over."

blueprint = Blueprint("alerts", __name__, url_prefix="/alerts")


@blueprint.get("")
@viewer_required
def index() -> str:
    """What needs a person now, and the channels."""
    inbox = present_inbox()
    names = {channel.key: channel.name for channel in channels_of(inbox.settings)}
    now = health(inbox)
    return render_template(
        "alerts.html",
        found=shown_part("conditions", lambda: watched(inbox, conditions(now, DEFAULT_LIMITS))),
        channels=channel_states(inbox, names),
        snoozes=list(alerts.SNOOZES),
    )


@blueprint.post("/<code>/acknowledge")
@operator_required
def acknowledge(code: str) -> Response:
    """Say that the condition is known."""
    _known(code)
    done = alerts.acknowledge(present_inbox(), code, actor=current_user.name)
    return _back(f"{code} is acknowledged. Nothing more is sent about it until it is over." if done else NOT_KNOWN)


@blueprint.post("/<code>/snooze")
@operator_required
def snooze(code: str) -> Response:
    """Send nothing about the condition for some hours."""
    _known(code)
    hours = int(choice_in(request.form, "hours", [str(hours) for hours in alerts.SNOOZES]) or 1)
    done = alerts.snooze(present_inbox(), code, hours, actor=current_user.name)
    return _back(f"{code} is snoozed for {hours} hours." if done else NOT_KNOWN)


@blueprint.post("/<code>/wake")
@operator_required
def wake(code: str) -> Response:
    """Take back what was acknowledged or snoozed."""
    _known(code)
    done = alerts.wake(present_inbox(), code, actor=current_user.name)
    return _back(f"Alerts about {code} are sent again." if done else NOT_KNOWN)


def _known(code: str) -> None:
    if code not in CODES:
        abort(404)


def _back(message: str) -> Response:
    flash(message)
    return redirect(url_for("alerts.index"))
