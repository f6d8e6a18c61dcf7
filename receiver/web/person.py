"""The page of one person's data: find it by a value of theirs, then export, hold, release or erase it.

The value comes in a form and goes back into one sealed. So it stands in no address, no cookie and no page.
receiver/actions/person.py and erasure.py do the work.
"""

import base64
import binascii
from datetime import timedelta
from functools import partial
from uuid import UUID

from flask import Blueprint, Response, flash, redirect, render_template, request, stream_with_context, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from receiver.actions import person as acts
from receiver.actions.erasure import erase as erase_person
from receiver.actions.person import Act, CannotAct
from receiver.present import present_inbox, request_id
from receiver.privacy.sealing import CannotUnseal, seal, unseal
from receiver.protocol.moments import moved
from receiver.queries.filters import moment_in
from receiver.queries.person import NO_INDEX, People
from receiver.store.models import PersonHold
from receiver.store.person_holds import person_of
from receiver.store.shown import shown, shown_part
from receiver.web.auth import operator_required
from receiver.web.present import reason

LAST = timedelta(days=1)
_SEALED_FOR = UUID("5ea1ed7e-0000-4000-8000-000000000002")

blueprint = Blueprint("person", __name__, url_prefix="/person")


@blueprint.get("")
@operator_required
def index() -> str:
    """The forms, and who is on hold."""
    return _page()


@blueprint.post("/find")
@operator_required
def find() -> BaseResponse | str:
    """What is known of somebody."""
    try:
        act = _act()
        found, is_held = acts.find(act), acts.is_on_hold(act)
    except CannotAct as error:
        return _back(str(error))
    return render_template(
        "person_found.html",
        found=found,
        is_held=is_held,
        newest=[shown(row, present_inbox().settings.showing) for row in found.newest],
        token=_token(act.person.value),
        reason=reason(),
    )


@blueprint.post("/export")
@operator_required
def export() -> BaseResponse:
    """All of it, in clear text, as a file."""
    try:
        document = acts.export(_act())
    except CannotAct as error:
        return _back(str(error))
    response = Response(stream_with_context(document), mimetype="application/json")
    response.headers["Content-Disposition"] = 'attachment; filename="person.json"'
    return response


@blueprint.post("/hold")
@operator_required
def hold() -> BaseResponse:
    """Let retention and erasures leave it alone."""
    try:
        act = _act()
        return _back(f"{act.person.name} is on hold{'' if acts.hold(act) else ' already'}.")
    except CannotAct as error:
        return _back(str(error))


@blueprint.post("/release")
@operator_required
def release() -> BaseResponse:
    """End the hold."""
    try:
        act = _act()
        acts.release(act)
        return _back(f"{act.person.name} is not on hold any more.")
    except CannotAct as error:
        return _back(str(error))


@blueprint.post("/erase")
@operator_required
def erase() -> BaseResponse | str:
    """Ask once more, then erase it."""
    try:
        act = _act()
        if not request.form.get("sure"):
            found = acts.look(act)
            return render_template(
                "person_erase.html", found=found, token=_token(act.person.value), reason=reason()
            )  # fmt: skip
        done = erase_person(act)
    except CannotAct as error:
        return _back(str(error))
    return _back(f"{act.person.name}:", *done.words())


@blueprint.post("/people")
@operator_required
def people() -> BaseResponse | str:
    """How many people a breach concerns, for a time."""
    inbox = present_inbox()
    if inbox.settings.person_index is None:
        return _back()
    until = moment_in(request.form, "until") or inbox.clock.now()
    since = moment_in(request.form, "since") or moved(until, -LAST)
    found = acts.count(inbox, since, until, actor=current_user.name, request_id=request_id())
    return _page(found, since=since, until=until)


def _page(found: People | None = None, **times: object) -> str:
    inbox = present_inbox()
    now = inbox.clock.now()
    return render_template(
        "person.html",
        no_index=None if inbox.settings.person_index else NO_INDEX,
        holds=[(hold, shown_part("hold", partial(_token_of, hold))) for hold in acts.holds(inbox)],
        people=found,
        **({"since": moved(now, -LAST), "until": now} | times),
    )


def _act() -> Act:
    """Who acts for whom, and why. Raises CannotAct."""
    inbox = present_inbox()
    if inbox.settings.person_index is None:
        raise CannotAct("no_index", NO_INDEX)
    value = request.form.get("value", "") or _opened(request.form.get("person", ""))
    return Act(inbox, value, actor=current_user.name, reason=reason() or "", request_id=request_id())


def _token(value: str) -> str:
    """The value as a form carries it."""
    keys = present_inbox().settings.payload_keys
    return base64.urlsafe_b64encode(seal(value.encode(errors="surrogatepass"), row=_SEALED_FOR, keys=keys)).decode()


def _token_of(hold: PersonHold) -> str:
    return _token(person_of(present_inbox().settings, hold).value)


def _opened(token: str) -> str:
    """The value in a token of ours; nothing where it is none."""
    try:
        sealed = base64.urlsafe_b64decode(token.encode())
        value = unseal(sealed, row=_SEALED_FOR, keys=present_inbox().settings.payload_keys)
    except (binascii.Error, ValueError, CannotUnseal):
        return ""
    return value.decode(errors="surrogatepass")


def _back(*sentences: str) -> BaseResponse:
    for sentence in sentences:
        flash(sentence)
    return redirect(url_for("person.index"), 303)
