"""The account of whoever is signed in: when they signed in last, and their second factor.

Whoever has to set up a second factor first (REQUIRE_SECOND_FACTOR) comes here from every other page.
"""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from markupsafe import Markup
from werkzeug.wrappers import Response

from receiver.actions import second_factor
from receiver.actions.users import AccountError
from receiver.green import Crowded
from receiver.present import present_inbox, request_id
from receiver.problem import RETRY_AFTER_SECONDS
from receiver.web.auth import BUSY, WRONG_CODE, comparisons, origin, signed_in_required

Answer = Response | str | tuple[str, int] | tuple[str, int, dict[str, str]]

blueprint = Blueprint("account", __name__, url_prefix="/account")


@blueprint.get("")
@signed_in_required
def show() -> str:
    """Who is signed in, and the state of the second factor."""
    return _page()


@blueprint.post("/second-factor")
@signed_in_required
def begin() -> Answer:
    """Make a secret that an app has to confirm. It needs the password: a screen may be left alone."""
    password = request.form.get("password", "")
    try:
        begun = second_factor.begin(
            present_inbox(), current_user.row, password, comparisons=comparisons, origin=origin()
        )
    except Crowded:
        return _page(BUSY), 503, {"Retry-After": RETRY_AFTER_SECONDS}
    except AccountError as error:
        return _page(str(error)), 400
    if not begun:
        return _page("The password is wrong, or there were too many tries."), 400
    return redirect(url_for("account.show"), 303)


@blueprint.post("/second-factor/confirm")
@signed_in_required
def confirm() -> Answer:
    """Turn the second factor on, and show the recovery codes once."""
    try:
        codes = second_factor.confirm(
            present_inbox(), int(current_user.id), request.form.get("code", ""), request_id=request_id()
        )
    except AccountError as error:
        return _page(str(error)), 400
    return render_template("recovery_codes.html", codes=codes)


@blueprint.post("/second-factor/remove")
@signed_in_required
def remove() -> Answer:
    """Turn the second factor off."""
    code = request.form.get("code", "")
    if not second_factor.remove(present_inbox(), int(current_user.id), code, origin=origin()):
        return _page(WRONG_CODE), 400
    flash("The second factor is off.")
    return redirect(url_for("account.show"), 303)


@blueprint.post("/recovery-codes")
@signed_in_required
def renew() -> Answer:
    """Show new recovery codes once."""
    code = request.form.get("code", "")
    codes = second_factor.renew_recovery_codes(present_inbox(), int(current_user.id), code, origin=origin())
    return render_template("recovery_codes.html", codes=codes) if codes else (_page(WRONG_CODE), 400)


def _page(refusal: str | None = None) -> str:
    inbox, user = present_inbox(), current_user.row
    setup = second_factor.setup_of(inbox, user.id)
    return render_template(
        "account.html",
        refusal=refusal,
        user=user,
        setup=setup,
        picture=_picture(setup.address) if setup else None,
        provider=inbox.settings.openid.host if inbox.settings.openid else None,
        codes_left=second_factor.recovery_codes_left(inbox, user.id),
    )


def _picture(address: str) -> Markup:
    """A QR code as SVG without styles of its own, which the pages' policy would refuse."""
    import segno  # only who needs it loads it

    drawn = segno.make_qr(address, error="m").svg_inline(
        scale=4, dark="#000", light="#fff", svgclass=None, lineclass=None
    )
    return Markup(drawn)  # noqa: S704 - paths alone, no text of anybody
