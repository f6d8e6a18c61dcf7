"""Sign-in at an OpenID provider: the authorization code flow with PKCE, state and nonce.

    /sign-in/oidc ──▶ the provider ──▶ /sign-in/oidc/return ──▶ the page that was wanted

What has to come back stands in the browser's own session, so a sign-in that another browser began leads nowhere. The
provider is asked by one request after the other, and few may wait. The requests are green, so deliveries go on.
Whatever goes wrong is a page with a reason of `REASONS`.
"""

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, cast

import structlog
from flask import Blueprint, Flask, abort, current_app, g, redirect, request, session, url_for
from werkzeug.wrappers import Response

from receiver.actions import single_sign_on
from receiver.config import Settings
from receiver.green import Crowded, Lane, is_green
from receiver.present import present_inbox, request_id
from receiver.problem import RETRY_AFTER_SECONDS
from receiver.settings.openid import OpenId
from receiver.web import auth, problems

if TYPE_CHECKING:
    from receiver.web.openid import Provider

BEGUN_SECONDS = 600
_BEGUN = "begun at the provider"
_PROVIDER = "openid_provider"
CODES = frozenset(
    {
        "access_denied", "account_selection_required", "consent_required", "interaction_required", "invalid_client",
        "invalid_grant", "invalid_request", "invalid_scope", "login_required", "server_error",
        "temporarily_unavailable", "unauthorized_client", "unsupported_response_type",
    }
)  # fmt: skip
"""The codes of a refusal that a page repeats. Others may be the text of a stranger."""
asking = Lane(places=8)
log = structlog.get_logger()
blueprint = Blueprint("oidc", __name__, url_prefix="/sign-in/oidc")


class Reason(NamedTuple):
    """Why a sign-in failed: the status of the page, and its words."""

    status: int
    words: str


REASONS = {
    "not_begun": Reason(400, "This sign-in was not begun in this browser, or too long ago. Begin again."),
    "refused": Reason(403, "The sign-in service refused"),
    "untrusted": Reason(502, "The answer of the sign-in service can't be trusted. The log of the receiver says why."),
    "unreachable": Reason(503, "The sign-in service does not answer. Try again in a moment."),
    "crowded": Reason(503, auth.BUSY),
    single_sign_on.NO_ROLE: Reason(403, "You have no role here. Ask the administrator of the sign-in service for one."),
    single_sign_on.DISABLED: Reason(403, "Your account of this receiver is disabled."),
}


class _Failed(Exception):
    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason)


def init_app(app: Flask, settings: Settings) -> None:
    """A web process loads what it needs now: later, the loading would keep requests waiting."""
    app.register_error_handler(_Failed, _failure)
    if settings.openid is not None and is_green():
        with app.app_context():
            _provider()


@blueprint.get("")
def begin() -> Response:
    """Lead to the provider."""
    provider = _provider()
    with _asked():
        begun = provider.begin()
    session[_BEGUN] = {
        "state": begun.state,
        "nonce": begun.nonce,
        "verifier": begun.verifier,
        "next": auth.own_path(request.args.get("next", "")),
        "at": present_inbox().clock.now().timestamp(),
    }
    g.leads_to = begun.address
    return redirect(begun.address)


@blueprint.get("/return")
def finish() -> Response:
    """Where the provider leads back to."""
    provider, begun = _provider(), session.pop(_BEGUN, None)
    now = present_inbox().clock.now().timestamp()
    if begun is None or not _is(begun["state"], request.args.get("state", "")) or now - begun["at"] >= BEGUN_SECONDS:
        raise _Failed("not_begun")
    if (refusal := request.args.get("error")) is not None:
        raise _Failed("refused", refusal)
    with _asked():
        known = provider.identity(request.args.get("code", ""), nonce=begun["nonce"], verifier=begun["verifier"])
    try:
        user = single_sign_on.sign_in(present_inbox(), known.identity, request_id=request_id())
    except single_sign_on.NotLetIn as error:
        raise _Failed(error.reason) from None
    auth.begin_session(user, ends_at=provider.end_session(known.id_token, _sign_in_page()))
    return redirect(begun["next"] or url_for("events.index"))


def _provider() -> "Provider":
    """The provider of this app, made when it is first needed."""
    known = _known()
    if _PROVIDER not in current_app.extensions:
        from receiver.web.openid import Provider

        current_app.extensions[_PROVIDER] = Provider(known)
    return cast("Provider", current_app.extensions[_PROVIDER])


def _known() -> OpenId:
    """What the settings say of the provider. Raises NotFound where they say nothing."""
    return present_inbox().settings.openid or abort(404)


@contextmanager
def _asked() -> Iterator[None]:
    """The block asks the provider, in its turn."""
    from receiver.web.openid import ProviderError

    try:
        with asking.turn(request.remote_addr or ""):
            yield
    except Crowded:
        raise _Failed("crowded") from None
    except ProviderError as error:
        raise _Failed(error.reason, error.detail) from None


def _failure(error: _Failed) -> Response:
    """A page with the reason. The audit log and the log have it too, unless anybody can cause it."""
    status, words = REASONS[error.reason]
    detail = error.detail if error.reason != "refused" or error.detail in CODES else "another error"
    if error.reason not in ("not_begun", "crowded"):
        told = ", ".join(filter(None, (error.reason, detail)))
        if single_sign_on.note_failure(present_inbox(), told, request_id=request_id()):
            log.warning("oidc_sign_in_failed", reason=error.reason, error=detail)
    if error.reason == "refused":
        words = f"{words}: {detail}."
    way = problems.Way("Go to the sign-in page", url_for("auth.sign_in"))
    response = problems.failure(status, "You are not signed in", words, way)
    if status == 503:
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return response


def _sign_in_page() -> str:
    """The address of the sign-in page, as the browser knows it."""
    return _known().redirect_uri.removesuffix("/oidc/return")


def _is(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode(errors="replace"))
