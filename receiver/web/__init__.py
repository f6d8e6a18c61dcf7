"""Who may knock (the webhook), who may look (the page). `ACCESS` declares it for every route.

To add a route: register it here and say in `ACCESS` who may use it; a test fails until both are done.
"""

from urllib.parse import quote, urlsplit

from flask import Flask, Request, Response, g, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from secure import ContentSecurityPolicy, ReferrerPolicy, Secure, XFrameOptions

from receiver.config import Settings
from receiver.extensions import csrf
from receiver.forwarded import BehindRouters
from receiver.ingest import route as webhooks
from receiver.ingest.fast_lane import FastLane
from receiver.present import inbox_in_force, request_id, start_request
from receiver.transport import common_headers
from receiver.web import (
    account,
    alerts,
    api,
    audit,
    auth,
    bounds,
    bulk,
    captures,
    events,
    failures,
    forms,
    health,
    lines,
    oidc,
    overview,
    parts,
    pauses,
    person,
    prefix,
    problems,
    subjects,
    support,
    times,
    tokens,
    words,
    workers,
    wrong_paths,
)
from receiver.web.present import RowNumber
from receiver.web.rules import LateRule

ACCESS = {
    "webhooks.receive": "signature",
    "health.alive": "public",
    "health.ready": "public",
    "health.metrics": "metrics token",
    "auth.sign_in": "public",
    "auth.first_operator": "public",
    "auth.code": "public",
    "oidc.begin": "public",
    "oidc.finish": "public",
    "auth.sign_out": "viewer",
    "account.show": "viewer",
    "account.begin": "viewer",
    "account.confirm": "viewer",
    "account.remove": "viewer",
    "account.renew": "viewer",
    "overview.index": "viewer",
    "events.index": "viewer",
    "events.find": "viewer",
    "events.show": "viewer",
    "events.reveal": "operator",
    "events.export": "operator",
    "events.replay": "operator",
    "events.dismiss": "operator",
    "bulk.plan": "operator",
    "bulk.show": "operator",
    "bulk.confirm": "operator",
    "bulk.cancel": "operator",
    "failures.index": "viewer",
    "pauses.index": "viewer",
    "pauses.begin": "operator",
    "pauses.end": "operator",
    "workers.index": "viewer",
    "subjects.show": "viewer",
    "person.index": "operator",
    "person.find": "operator",
    "person.export": "operator",
    "person.hold": "operator",
    "person.release": "operator",
    "person.erase": "operator",
    "person.people": "operator",
    "audit.index": "viewer",
    "audit.find": "viewer",
    "audit.export": "operator",
    "alerts.index": "viewer",
    "alerts.acknowledge": "operator",
    "alerts.snooze": "operator",
    "alerts.wake": "operator",
    "support.event": "viewer",
    "support.time": "viewer",
    "api.list_events": "events:read",
    "api.show_event": "events:read",
    "api.list_audit_rows": "audit:read",
    "api.show_health": "health:read",
    "api.list_failures": "failures:read",
    "tokens.index": "operator",
    "tokens.create": "operator",
    "tokens.revoke": "operator",
    "captures.index": "operator",
    "captures.show": "operator",
    "captures.open_": "operator",
    "captures.close": "operator",
    "captures.apply": "operator",
    "captures.revoke": "operator",
    "times.choose": "viewer",
    "static": "public",
    "partner.static": "public",
}

_CSP = (
    ContentSecurityPolicy()
    .default_src("'none'")
    .style_src("'self'")
    .script_src("'self'")
    .img_src("'self'")
    .connect_src("'self'")
    .form_action("'self'")
    .base_uri("'none'")
    .frame_ancestors("'none'")
)


def init_app(app: Flask, settings: Settings) -> None:
    """Register the blueprints and what every answer has in common."""
    headers = common_headers(settings)
    fast_lane = FastLane(app, headers, may_open=settings.fast_lane == "auto")
    app.url_rule_class = LateRule
    app.url_map.converters["row"] = RowNumber
    app.register_blueprint(webhooks.blueprint)
    for room in (
        health, auth, oidc, account, overview, events, failures, alerts, bulk, pauses, workers, subjects, person, audit,
        support, captures, api, tokens, times,
    ):  # fmt: skip
        app.register_blueprint(room.blueprint)
    csrf.exempt(webhooks.blueprint)
    words.init_app(app)
    times.init_app(app)
    parts.init_app(app)
    pauses.init_app(app)
    problems.init_app(app)
    auth.init_app(app)
    oidc.init_app(app, settings)
    wrong_paths.init_app(app)
    lines.init_app(app)
    bounds.init_app(app)
    api.init_app(app)
    app.before_request(start_request)
    app.before_request(_look_for_applied)
    app.before_request(problems.refuse_plain_http)
    forms.init_app(app)
    if settings.name:  # a browser that knows two receivers on one host must not mistake one session for the other
        app.config["SESSION_COOKIE_NAME"] = f"session-{quote(settings.name, safe='')}"
    app.session_interface = _PageSessions(always_secure=settings.require_https)
    page = Secure(csp=_CSP, referrer=ReferrerPolicy().same_origin(), xfo=XFrameOptions().deny())
    prefix.init_app(app, settings.script_name)
    app.wsgi_app = BehindRouters(app.wsgi_app, settings)  # type: ignore[method-assign]  # Flask's own way

    @app.after_request
    def add_headers(response: Response) -> Response:
        if response.mimetype == "text/html":
            response.headers.extend(page.headers)
        for name, value in headers:
            if name not in response.headers:
                response.headers.add(name, value)
        response.headers["X-Request-ID"] = request_id()
        if response.location and response.location != g.get("leads_to"):
            response.location = _on_this_host(response.location)
        return response

    fast_lane.open()


def _look_for_applied() -> None:
    """A page shows the settings that count now. A delivery looks for itself, within its time."""
    if ACCESS.get(request.endpoint or "") in ("viewer", "operator"):
        inbox_in_force()


def _on_this_host(address: str) -> str:
    """The path of a redirect alone. Werkzeug's own redirects name the host that the client claims to have asked for."""
    target = urlsplit(address)
    return target._replace(scheme="", netloc="", path="/" + target.path.lstrip("/")).geturl()


class _PageSessions(SecureCookieSessionInterface):
    """Pages have sessions. A delivery and the API have none, whatever cookies come.

    A session that was begun over HTTPS never travels over plain HTTP, whether HTTPS is required or not.
    """

    def __init__(self, *, always_secure: bool) -> None:
        self._always_secure = always_secure

    def get_cookie_secure(self, app: Flask) -> bool:
        return self._always_secure or request.is_secure

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if request.path.startswith(("/webhooks/", "/api/")):
            return self.make_null_session(app)
        return super().open_session(app, request)
