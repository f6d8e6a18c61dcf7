"""How much of a stranger's request is looked at, on every route, and how many log lines a stranger can have written."""

import json
import re
import tempfile
import time

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from receiver.config import WEBHOOK_PATH
from receiver.store.tally import ROWS_A_MINUTE
from receiver.web.bounds import MOST_FIELD_BYTES, MOST_FORM_BYTES, MOST_MEDIA_TYPE_BYTES

FIELDS = {
    "Accept": MOST_MEDIA_TYPE_BYTES,
    "Content-Type": MOST_MEDIA_TYPE_BYTES,
    "Authorization": MOST_FIELD_BYTES,
    "Cookie": MOST_FIELD_BYTES,
    "If-Modified-Since": MOST_FIELD_BYTES,
    "If-None-Match": MOST_FIELD_BYTES,
    "Range": MOST_FIELD_BYTES,
    "Referer": MOST_FIELD_BYTES,
    "User-Agent": MOST_FIELD_BYTES,
    "X-Anything": MOST_FIELD_BYTES,
}
FLOOD = 30


@pytest.fixture
def every_call(app):
    """Method and path of every route, and of none."""
    calls = [("GET", "/nothing-here"), ("POST", "/nothing-here")]
    for rule in app.url_map.iter_rules():
        path = re.sub("<[^>]*>", "1", rule.rule.replace("<path:filename>", "page.css"))
        calls += [(method, path) for method in sorted(rule.methods - {"HEAD", "OPTIONS"})]
    return [(method, path) for method, path in calls if path != WEBHOOK_PATH]


@pytest.fixture
def lines(capsys):
    """The log lines since the last look, of one event."""

    def read(event):
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    return read


# What is looked at


def test_a_header_field_that_is_too_long_is_refused_on_every_route(app, every_call):
    client = app.test_client(use_cookies=False)

    answers = {
        (method, path, name): client.open(
            path, method=method, buffered=True, headers={name: "a" * (most + 1)}
        ).status_code
        for method, path in every_call
        for name, most in FIELDS.items()
    }

    assert {call: status for call, status in answers.items() if status != 431} == {}


def test_a_header_field_of_the_longest_length_is_taken(app):
    client = app.test_client(use_cookies=False)

    answers = {name: client.get("/sign-in", headers={name: "a" * most}).status_code for name, most in FIELDS.items()}

    assert answers == dict.fromkeys(FIELDS, 200)


def test_a_delivery_with_a_long_field_beside_its_signature_is_taken(deliver, sender, payload):
    signed = sender.signed(json.dumps(payload()).encode())
    long = {"X-Anything": "a" * 30_000, "Cookie": "a;" * 15_000, "Accept": "a/b," * 8_000}

    assert sender.post(sender.url, signed.body, signed.headers | long).status == 200


@pytest.mark.parametrize(
    ("path", "field", "filling"),
    [
        ("/nothing-here", "Accept", 'W/"a",'),
        ("/nothing-here", "Accept", "a/b;q=0.5,"),
        ("/metrics", "Accept", "a,"),
        ("/sign-in", "Cookie", "a;"),
        ("/sign-in", "Content-Type", "eyJ-"),
        ("/sign-in", "X-Anything", "a"),
    ],
)
def test_a_long_field_costs_no_more_than_a_glance(app, path, field, filling):
    beginning = "multipart/form-data; boundary=" if field == "Content-Type" else ""

    def work_for(size):
        value = beginning + filling * (size // len(filling))
        environ = create_environ(path, headers={"Accept": "text/html", field: value})
        begun = time.thread_time()
        run_wsgi_app(app.wsgi_app, environ, buffered=True)
        return time.thread_time() - begun

    work_for(10)
    short, long = (min(work_for(size) for _ in range(5)) for size in (10, 60_000))
    assert long < 3 * short


def test_a_form_that_is_too_long_is_refused_on_every_route(app, every_call, signed_in):
    client = signed_in()
    form = b"a=b&" * (MOST_FORM_BYTES // 4) + b"a=b"

    answers = {
        (method, path): client.open(
            path, method=method, data=form, content_type="application/x-www-form-urlencoded"
        ).status_code
        for method, path in every_call
        if method == "POST"
    }

    assert {call: status for call, status in answers.items() if status not in (404, 413)} == {}


def test_no_route_takes_a_file_or_writes_one(app, every_call, signed_in, monkeypatch, tmp_path):
    client = signed_in()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "there is no such folder"))

    for size in (10, 600_000):
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        body, kind = head + b"x" * size + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"
        for method, path in every_call:
            status = client.open(path, method=method, data=body, content_type=kind, buffered=True).status_code
            assert status in ((404, 413, 415) if method == "POST" else (200, 302, 400, 401, 404, 410, 413, 415)), path


# What is logged


def test_the_log_names_the_route_and_nothing_that_a_stranger_wrote(app, lines):
    client = app.test_client()

    for method, path in [
        ("GET", "/stranger"),
        ("GET", "/events/999999?q=stranger"),
        ("GET", "/subjects/policy/stranger"),
        ("GET", "/static/stranger.css"),
        ("POST", "/sign-in?next=/stranger"),
        ("STRANGER", "/sign-in"),
        ("PUT", "/events/1?stranger"),
    ]:
        client.open(path, method=method, headers={"User-Agent": "stranger", "Referer": "/stranger"})

    found = lines("request")
    assert "stranger" not in str(found).lower()
    assert [(line["method"], line["route"], line["status"]) for line in found] == [
        ("GET", "unknown", 404),
        ("GET", "/events/<row:inbox_id>", 302),
        ("GET", "/subjects/<kind>/<path:reference>", 302),
        ("GET", "/static/<path:filename>", 404),
        ("POST", "/sign-in", 400),
        ("other", "unknown", 405),
        ("PUT", "unknown", 405),
    ]
    assert all(line["request_id"] and line["duration_ms"] >= 0 for line in found)


def test_a_delivery_has_one_line_and_it_is_none_of_a_request(app, deliver, lines, capsys):
    deliver()
    app.test_client().post(WEBHOOK_PATH, data=b"x" * 70_000)  # not by the fast lane
    app.test_client().post(WEBHOOK_PATH, data=b"x" * 2_000_000)

    printed = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    printed.remove("fast_lane")  # which way deliveries take is said once
    assert printed == ["delivery", "delivery", "delivery"]


@pytest.mark.usefixtures("early_in_a_minute")
@pytest.mark.parametrize("fast_lane", ["0", "auto"])
def test_of_a_flood_of_rejections_few_have_a_line_and_the_count_is_exact(environment, request, lines, fast_lane):
    environment["FAST_LANE"] = fast_lane
    app, clock = request.getfixturevalue("app"), request.getfixturevalue("clock")
    client = app.test_client()
    for _ in range(FLOOD):
        client.post(WEBHOOK_PATH, data=b"{}")
    clock.advance(minutes=1)
    client.post(WEBHOOK_PATH, data=b"{}")

    found = [line for line in lines("delivery") if line["processing_result"] == "rejected"]
    assert {line["reason"] for line in found} == {"missing_signature"}
    assert len(found) <= 2 * ROWS_A_MINUTE
    assert sum(line.get("occurrences", 1) for line in found) == FLOOD + 1


@pytest.mark.usefixtures("early_in_a_minute")
def test_of_a_flood_of_other_requests_few_have_a_line_and_the_count_is_exact(app, clock, lines):
    client = app.test_client()
    for number in range(FLOOD):
        client.get(f"/{number}")
    clock.advance(minutes=1)
    client.get("/one-more")

    found = [line for line in lines("request") if line["route"] == "unknown"]
    assert len(found) <= 2 * ROWS_A_MINUTE
    assert sum(line.get("occurrences", 1) for line in found) == FLOOD + 1
