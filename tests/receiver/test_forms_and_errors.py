"""Forms over HTTPS and behind proxies, for as long as a session lasts; and errors: pages, where people read them."""

import re
import time
from html import unescape

import pytest
from flask import abort

from receiver.database.columns import ReceiverBase
from receiver.web import ACCESS

PASSWORD = "correct horse battery"
HTTPS = "https://receiver.example"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
MACHINE_PATHS = ("/webhooks/senang", "/webhooks/elsewhere", "/healthz", "/readyz", "/metrics")


@pytest.fixture
def siti(app):
    app.test_cli_runner().invoke(args=["users", "add", "siti", "--password", PASSWORD])
    return {"name": "siti", "password": PASSWORD}


@pytest.fixture
def signs_in(app, siti, csrf_token):
    """Sign in with these headers, as a browser sends them; the answer."""

    def sign_in(base_url=HTTPS, client=None, **headers):
        client = client or app.test_client()
        form = {**siti, "csrf_token": csrf_token(client.get("/sign-in", base_url=base_url))}
        return client.post("/sign-in", data=form, base_url=base_url, headers=headers)

    return sign_in


def cookie_of(app, base_url):
    return app.test_client().get("/sign-in", base_url=base_url).headers["Set-Cookie"]


def is_a_page(response, status):
    """Whether it is a page with a request ID, which its header says too."""
    assert (response.status_code, response.mimetype) == (status, "text/html"), response.text
    assert len(response.headers["X-Request-ID"]) == 32
    assert response.headers["X-Request-ID"] in response.text
    assert "Content-Security-Policy" in response.headers
    return True


# Over HTTPS, and behind proxies


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Referer": f"{HTTPS}/sign-in"},
        {"Referer": "https://outside.example:8443/sign-in", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_a_form_works_over_https_whatever_a_proxy_makes_of_the_host(signs_in, headers):
    assert signs_in(**headers).status_code == 302


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_that_another_site_sends_is_refused_even_with_a_token(signs_in, site):
    assert signs_in(**{"Sec-Fetch-Site": site}).status_code == 400


def test_pages_tell_their_own_site_where_a_request_comes_from_and_no_other(app):
    assert app.test_client().get("/sign-in").headers["Referrer-Policy"] == "same-origin"


def test_a_session_that_begins_over_https_never_travels_in_the_clear(app):
    assert "Secure" in cookie_of(app, HTTPS)
    assert "Secure" not in cookie_of(app, "http://127.0.0.1:8000")


@pytest.mark.parametrize(("hops", "is_believed"), [("1", True), ("0", False)])
def test_a_proxy_says_that_a_session_begins_over_https_only_where_it_is_trusted(
    environment, request, hops, is_believed
):
    environment["FORWARDED_PROTO_HOPS"] = hops
    client = request.getfixturevalue("app").test_client()

    cookie = client.get("/sign-in", headers={"X-Forwarded-Proto": "https"}).headers["Set-Cookie"]

    assert ("Secure" in cookie) is is_believed


@pytest.mark.parametrize("required", ["1", "0"])
def test_https_for_ever_is_promised_only_where_it_is_required(environment, request, required):
    environment["REQUIRE_HTTPS"] = required
    answer = request.getfixturevalue("app").test_client().get("/sign-in", base_url=HTTPS)

    assert ("Strict-Transport-Security" in answer.headers) is (required == "1")


# As long as the session lasts


def test_a_form_that_was_opened_eleven_hours_ago_still_works(monkeypatch, signed_in, csrf_token, deliver, work, stored):
    deliver(event_id="evt_1")
    work()
    client = signed_in()
    address = f"/events/{stored('evt_1').id}"
    form = {"csrf_token": csrf_token(client.get(address)), "sure": "yes", "reason": "asked to"}

    with _later(monkeypatch, hours=11):
        answer = client.post(f"{address}/replay", data=form)

    assert (answer.status_code, stored("evt_1").state) == (302, "pending")


def test_a_sign_in_form_that_was_left_open_overnight_lets_its_reader_in(monkeypatch, app, siti, csrf_token):
    client = app.test_client()
    form = {**siti, "csrf_token": csrf_token(client.get("/sign-in"))}

    with _later(monkeypatch, hours=15):
        assert client.post("/sign-in?next=/audit", data=form).headers["Location"] == "/audit"


def test_a_sign_in_form_of_another_session_is_shown_again_with_a_word_and_then_works(app, siti, csrf_token):
    client = app.test_client()

    again = client.post("/sign-in?next=/audit", data={**siti, "csrf_token": "of yesterday"}, headers=BROWSER)
    then = client.post("/sign-in?next=/audit", data={**siti, "csrf_token": csrf_token(again)})

    assert (again.status_code, again.mimetype) == (400, "text/html")
    assert "out of date" in again.text
    assert 'value="siti"' in again.text
    assert PASSWORD not in again.text
    assert then.headers["Location"] == "/audit"


def test_a_form_of_a_session_that_has_ended_leads_back_to_its_page_after_the_sign_in(
    app, siti, signs_in, clock, csrf_token, deliver, stored
):
    deliver(event_id="evt_1")
    client, address = app.test_client(), f"/events/{stored('evt_1').id}"
    signs_in(client=client)
    form = {"csrf_token": csrf_token(client.get("/sign-in", base_url=HTTPS))}
    clock.advance(hours=13)

    referrer = {"Referer": f"https://outside.example{address}?state=dead"}
    asked = client.post(f"{address}/replay", data=form, headers=referrer, base_url=HTTPS)
    page = client.get(asked.headers["Location"], base_url=HTTPS)
    form = {**siti, "csrf_token": csrf_token(page)}
    back = client.post(asked.headers["Location"], data=form, base_url=HTTPS)

    assert "nothing was done" in page.text
    assert back.headers["Location"] == f"{address}?state=dead"


def test_a_form_that_can_prove_nothing_is_answered_with_a_page_that_says_what_to_do(signed_in, app):
    reader, stranger = signed_in(), app.test_client()

    assert is_a_page(reader.post("/sign-out", headers=BROWSER), 400)
    assert is_a_page(stranger.post("/sign-out", headers=BROWSER), 400)
    assert "reload it" in reader.post("/sign-out", headers=BROWSER).text
    assert "Sign in" in stranger.post("/sign-out", headers=BROWSER).text


def test_every_live_part_is_told_that_its_session_has_ended_for_want_of_use(app, signed_in, deliver, work, clock):
    deliver(event_id="evt_1")
    work()
    client = signed_in()
    seen = [rule for rule in app.url_map.iter_rules() if ACCESS[rule.endpoint] == "viewer" and not rule.arguments]
    pages = "".join(client.get(rule.rule).text for rule in seen if "GET" in rule.methods)
    parts = {unescape(path) for path in re.findall(r'hx-get="([^"]+)"', pages)}
    asks = {"headers": {"HX-Request": "true"}}
    before = {path: client.get(path, **asks).status_code for path in parts}
    clock.advance(minutes=61)

    after = {path: client.get(path, **asks).status_code for path in parts}

    assert len(parts) >= 2
    assert (before, after) == (dict.fromkeys(parts, 200), dict.fromkeys(parts, 401))


def test_a_form_of_another_session_leads_back_to_its_page_from_where_nothing_was_done(app, signed_in):
    form, referrer = {"csrf_token": "of yesterday"}, {"Referer": f"{HTTPS}/pauses?q=1", **BROWSER}

    reader = signed_in().post("/pauses", data=form, headers=referrer)
    stranger = app.test_client().post("/pauses", data=form, headers=referrer)

    assert 'href="/pauses?q=1"' in reader.text
    assert 'href="/sign-in?next=/pauses?q%3D1"' in stranger.text


# Errors


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/nowhere", 404),
        ("get", "/events/export.xml", 404),
        ("get", "/events?state=lost", 400),
        ("get", "/static/nothing.css", 404),
        ("delete", "/events", 405),
        ("post", "/sign-out", 400),
        ("get", "/captures", 403),
        ("get", "/out-of-order", 500),
        ("get", "/erased", 410),
        ("get", "/busy", 503),
    ],
)
def test_an_error_of_a_page_is_a_page(app, signed_in, method, path, status):
    app.add_url_rule("/out-of-order", "out-of-order", lambda: 1 / 0)
    app.add_url_rule("/erased", "erased", lambda: abort(410))
    app.add_url_rule("/busy", "busy", lambda: abort(503))
    client = signed_in("viewer" if status == 403 else "operator")

    answer = getattr(client, method)(path, headers=BROWSER)

    assert is_a_page(answer, status)
    assert "Allow" in answer.headers or status != 405


def test_a_page_says_so_when_the_database_is_gone(app, signed_in, inbox):
    client = signed_in()
    ReceiverBase.metadata.drop_all(inbox.engine)

    answer = client.get("/events", headers=BROWSER)

    assert is_a_page(answer, 503)
    assert answer.headers["Retry-After"]
    assert "database" in answer.text


@pytest.mark.parametrize("path", MACHINE_PATHS)
def test_an_error_for_a_machine_is_a_problem_whatever_it_accepts(app, path):
    answer = app.test_client().delete(path, headers=BROWSER)

    assert answer.mimetype == "application/problem+json"
    assert len(answer.headers["X-Request-ID"]) == 32


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/problem+json, */*;q=0.1", ""])
def test_an_error_for_a_script_is_a_problem(app, accept):
    assert app.test_client().get("/nowhere", headers={"Accept": accept}).json["status"] == 404


def test_plain_http_where_https_is_required_is_said_on_a_page(environment, request):
    environment["REQUIRE_HTTPS"] = "1"
    client = request.getfixturevalue("app").test_client()

    get, post = client.get("/", headers=BROWSER), client.post("/sign-in", headers=BROWSER)

    assert is_a_page(get, 403)
    assert is_a_page(post, 403)
    assert "HTTPS only" in get.text


def test_every_answer_has_a_request_id_of_its_own(app, signed_in):
    client = signed_in()
    paths = ["/", "/nowhere", "/events/export.csv", "/static/page.css", *MACHINE_PATHS]

    answers = [client.open(path, method=method, buffered=True) for path in paths for method in ("GET", "POST")]

    ids = [answer.headers.get("X-Request-ID", "") for answer in answers]
    assert [found for found in ids if not re.fullmatch("[0-9a-f]{32}", found)] == []
    assert len(set(ids)) == len(ids)


def test_a_live_part_of_a_page_is_told_that_the_session_has_ended(app):
    answer = app.test_client().get("/events", headers={"HX-Request": "true"})

    assert answer.status_code == 401


class _later:  # noqa: N801 - reads as a sentence
    """Flask-WTF's tokens are dated by the system's clock, which no clock of ours moves."""

    def __init__(self, monkeypatch, *, hours):
        self.monkeypatch, self.seconds = monkeypatch, hours * 3600

    def __enter__(self):
        now = time.time
        self.monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now() + self.seconds)

    def __exit__(self, *_):
        self.monkeypatch.undo()
