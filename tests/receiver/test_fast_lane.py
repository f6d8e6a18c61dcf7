"""The short way to the door answers as Flask's way does, and is open only while nobody else listens to requests."""

import json

import flask
import pytest
from flask import Flask, signals

from receiver.testing import both_databases

PATH = "/webhooks/senang"


@pytest.fixture
def lane():
    return "auto"


@pytest.fixture
def environment(environment, lane):
    return environment | {"FAST_LANE": lane}


@pytest.fixture
def ways(capsys):
    """What the log has said of the way that deliveries take, since this was last asked."""

    def said():
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [(line["is_open"], line["closed_by"]) for line in lines if line["event"] == "fast_lane"]

    return said


def answers(sender, payload, app):
    """One answer of each kind: what was said, and in which headers."""
    known = payload("payment.success", event_id="evt_1")
    unsigned = app.test_client().post(PATH, data=b"{}", content_type="application/json")
    large = app.test_client().post(PATH, data=b"x" * 2_000_000)
    delivered = [sender.deliver(body) for body in (known, known, known | {"status": "other"}, b"[]", b"not json")]
    said = [(answer.status, json.loads(answer.text), answer.headers) for answer in delivered]
    said += [(answer.status_code, answer.get_json(force=True), dict(answer.headers)) for answer in (unsigned, large)]
    return [(status, document, without_what_differs(headers)) for status, document, headers in said]


def without_what_differs(headers):
    return {name: value for name, value in headers.items() if name not in ("X-Request-ID", "Connection")}


@both_databases
@pytest.mark.parametrize("lane", ["0", "auto"])
def test_each_kind_of_delivery_is_answered_by_either_way_alike(sender, payload, app):
    said = answers(sender, payload, app)

    assert [status for status, _, _ in said] == [200, 200, 200, 200, 200, 401, 413]
    assert [document.get("status") for _, document, _ in said[:5]] == [
        "accepted", "duplicate", "duplicate", "quarantined", "quarantined",
    ]  # fmt: skip
    for _, _, headers in said:
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
        assert headers["Content-Type"] in ("application/json", "application/problem+json")
        assert "Vary" not in headers
        assert "Set-Cookie" not in headers


@pytest.mark.parametrize("lane", ["0", "auto"])
def test_a_delivery_has_an_id_of_our_own_by_either_way(deliver):
    first, second = deliver(), deliver()

    assert len(first.headers["X-Request-ID"]) == 32
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]


@pytest.mark.parametrize("lane", ["0", "auto"])
def test_plain_http_is_refused_by_either_way(environment, request):
    environment["REQUIRE_HTTPS"] = "1"  # before anything asks for the app
    deliver = request.getfixturevalue("deliver")

    answer = deliver()

    assert answer.status == 403
    assert "Strict-Transport-Security" in answer.headers


def test_the_log_says_once_that_the_lane_is_open(deliver, ways):
    deliver()
    deliver()

    assert ways() == [(True, "")]


@pytest.mark.parametrize("lane", ["0"])
def test_the_log_says_that_a_setting_keeps_the_lane_closed(deliver, ways):
    deliver()

    assert ways() == [(False, "FAST_LANE=0")]


def add_to_view(app, see):
    known = app.view_functions["webhooks.receive"]
    app.view_functions["webhooks.receive"] = lambda: (see(), known())[1]


def add_to_wsgi(app, see):
    inner = app.wsgi_app
    app.wsgi_app = lambda environ, start_response: (see(), inner(environ, start_response))[1]


LISTENERS = {
    "before_request": lambda app, see: app.before_request(lambda: see()),
    "after_request": lambda app, see: app.after_request(lambda response: (see(), response)[1]),
    "teardown_request": lambda app, see: app.teardown_request(lambda _error: see()),
    "teardown_appcontext": lambda app, see: app.teardown_appcontext(lambda _error: see()),
    "url_value_preprocessor": lambda app, see: app.url_value_preprocessor(lambda *_: see()),
    "a hook of the webhook's blueprint": lambda app, see: app.before_request_funcs.setdefault("webhooks", []).append(
        lambda: see()
    ),
    "the view function": add_to_view,
    "middleware": add_to_wsgi,
    **{
        name: lambda app, see, name=name: getattr(signals, name).connect(see, app)
        for name in (
            "request_started", "request_finished", "request_tearing_down", "appcontext_pushed", "appcontext_popped",
            "appcontext_tearing_down",
        )
    },
}  # fmt: skip
"""Each lets something see every request, whenever it is added."""


@pytest.mark.parametrize("when", ["before the first delivery", "after it"])
def test_whoever_listens_to_requests_sees_each_delivery(assemble, environment, deliver, sender, payload, when):
    unseen = []
    for kind, listen in LISTENERS.items():
        app, seen = assemble(environment), []
        if when == "after it":
            assert app.test_client().post(PATH, data=b"{}").status_code == 401
            app._got_first_request = False  # Flask itself refuses some of them once it has served a request

        def see(*_sender, seen=seen, **_about):
            seen.append(1)

        listen(app, see)
        answer = app.test_client().post(PATH, data=b"{}")
        if (answer.status_code, bool(seen)) != (401, True):
            unseen.append(kind)

    assert unseen == []


def test_the_log_says_who_closes_the_lane_and_that_it_is_open_again(app, deliver, ways):
    def check_address(*_sender, **_about):
        pass

    deliver()
    signals.request_started.connect(check_address, app)
    deliver()
    signals.request_started.disconnect(check_address, app)
    deliver()

    (first, _), (second, closed_by), (third, _) = ways()
    assert (first, second, third) == (True, False, True)
    assert closed_by.startswith("signal request-started ")
    assert closed_by.endswith("check_address")


def test_an_error_handler_that_would_see_unexpected_errors_closes_the_lane(app, deliver, ways):
    app.register_error_handler(Exception, lambda _error: ("ours", 500))
    deliver()

    assert [is_open for is_open, _ in ways()] == [False]


def test_what_concerns_no_delivery_leaves_the_lane_open(app, deliver, ways):
    portal = flask.Blueprint("portal", __name__)
    portal.before_request(lambda: None)
    app.register_blueprint(portal, url_prefix="/portal")
    app.register_error_handler(LookupError, lambda _error: ("not here", 404))
    other = Flask("other")
    signals.request_started.connect(lambda *_sender, **_about: None, other, weak=False)
    deliver()

    assert ways() == [(True, "")]


def test_a_wrapper_in_the_class_of_all_apps_closes_the_lane(monkeypatch, environment, assemble, ways):
    seen, inner = [], Flask.wsgi_app

    def measured(self, environ, start_response):
        seen.append(environ["PATH_INFO"])
        return inner(self, environ, start_response)

    monkeypatch.setattr(Flask, "wsgi_app", measured)
    app = assemble(environment)
    app.test_client().post(PATH, data=b"{}")

    assert seen == [PATH]
    assert [is_open for is_open, _ in ways()] == [False]
