"""The short way to the door answers as Flask's way does."""

import json

import pytest

from tests.receiver.databases import both_databases


@pytest.fixture
def lane():
    return "1"


@pytest.fixture
def environment(environment, lane):
    return environment | {"FAST_LANE": lane}


def answers(sender, payload, app):
    """One answer of each kind: what was said, and in which headers."""
    known = payload("payment.success", event_id="evt_1")
    unsigned = app.test_client().post("/webhooks/senang", data=b"{}", content_type="application/json")
    large = app.test_client().post("/webhooks/senang", data=b"x" * 2_000_000)
    delivered = [sender.deliver(body) for body in (known, known, known | {"status": "other"}, b"[]", b"not json")]
    said = [(answer.status, json.loads(answer.text), answer.headers) for answer in delivered]
    said += [(answer.status_code, answer.get_json(force=True), dict(answer.headers)) for answer in (unsigned, large)]
    return [(status, document, without_what_differs(headers)) for status, document, headers in said]


def without_what_differs(headers):
    return {name: value for name, value in headers.items() if name not in ("X-Request-ID", "Connection")}


@both_databases
@pytest.mark.parametrize("lane", ["0", "1"])
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


@pytest.mark.parametrize("lane", ["0", "1"])
def test_a_delivery_has_an_id_of_our_own_by_either_way(deliver):
    first, second = deliver(), deliver()

    assert len(first.headers["X-Request-ID"]) == 32
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]


@pytest.mark.parametrize("lane", ["0", "1"])
def test_plain_http_is_refused_by_either_way(environment, request):
    environment["REQUIRE_HTTPS"] = "1"  # before anything asks for the app
    deliver = request.getfixturevalue("deliver")

    answer = deliver()

    assert answer.status == 403
    assert "Strict-Transport-Security" in answer.headers
