"""Who may knock (the webhook), who may look (the page). `ACCESS` declares it for every route.

To add a route: register it here and say in `ACCESS` who may use it; a test fails until both are done.
"""

from flask import Flask, Response
from secure import ContentSecurityPolicy, ReferrerPolicy, Secure, StrictTransportSecurity, XFrameOptions
from werkzeug.middleware.proxy_fix import ProxyFix

from app.config import Settings
from app.extensions import csrf
from app.web import (
    audit,
    auth,
    captures,
    events,
    health,
    overview,
    problems,
    replays,
    subjects,
    support,
    webhooks,
    words,
)

ACCESS = {
    "webhooks.receive": "signature",
    "health.alive": "public",
    "health.ready": "public",
    "health.metrics": "metrics token",
    "auth.sign_in": "public",
    "auth.sign_out": "viewer",
    "overview.index": "viewer",
    "events.index": "viewer",
    "events.show": "viewer",
    "events.export": "operator",
    "events.replay": "operator",
    "replays.plan": "operator",
    "replays.show": "operator",
    "replays.confirm": "operator",
    "replays.cancel": "operator",
    "subjects.show": "viewer",
    "audit.index": "viewer",
    "audit.export": "operator",
    "support.event": "viewer",
    "support.time": "viewer",
    "captures.index": "operator",
    "captures.show": "operator",
    "captures.open_": "operator",
    "captures.close": "operator",
    "static": "public",
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
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]  # Flask's documented way
    app.register_blueprint(webhooks.blueprint)
    for page in (health, auth, overview, events, replays, subjects, audit, support, captures):
        app.register_blueprint(page.blueprint)
    csrf.exempt(webhooks.blueprint)
    words.init_app(app)
    problems.init_app(app)
    auth.init_app(app)
    app.before_request(problems.start_request)
    if settings.require_https:
        app.before_request(problems.refuse_plain_http)
    headers = Secure(
        csp=_CSP,
        hsts=StrictTransportSecurity().max_age(31536000) if settings.require_https else None,
        referrer=ReferrerPolicy().no_referrer(),
        xfo=XFrameOptions().deny(),
    )

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(headers.headers)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Request-ID"] = problems.request_id()
        response.headers.setdefault("Cache-Control", "no-store")
        return response
