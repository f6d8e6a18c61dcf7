"""A receiver behind a path prefix, whether the router strips the prefix or passes it on."""

import re

import pytest
import sqlalchemy as sa
from werkzeug.test import Client

from receiver.config import ConfigurationError, load_settings
from receiver.settings.values import OWN_PATHS
from receiver.store.models import AuditEntry
from tests.receiver.processes import running
from tests.receiver.settings import ENVIRONMENT

PREFIX = "/pay/v2"
ROUTERS = ["passes it on", "strips it"]


@pytest.fixture
def environment(environment):
    return environment | {"SCRIPT_NAME": PREFIX}


@pytest.fixture(params=ROUTERS)
def browse(request, app):
    """A browser that asks a router for a path from outside; the router asks the receiver."""

    def router(environ, start_response):
        if request.param == "strips it":
            environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(PREFIX)
        return app(environ, start_response)

    client = Client(router)
    return lambda path, method="get", **more: getattr(client, method)(path, **more)


@pytest.fixture
def inside(app, browse, csrf_token):
    """A browser that has signed in."""
    app.test_cli_runner().invoke(args=["users", "add", "siti", "--password", "correct horse battery"])
    form = {"name": "siti", "password": "correct horse battery"}
    form["csrf_token"] = csrf_token(browse(f"{PREFIX}/sign-in"))
    answer = browse(f"{PREFIX}/sign-in?next={PREFIX}/audit", "post", data=form)
    assert answer.headers["Location"] == f"{PREFIX}/audit"
    assert f"Path={PREFIX}" in answer.headers["Set-Cookie"]
    return browse


@pytest.mark.parametrize("fast_lane", ["0", "auto"])
@pytest.mark.parametrize("router", ROUTERS)
def test_a_delivery_is_accepted(environment, request, fast_lane, router):
    environment["FAST_LANE"] = fast_lane
    sender, payload = request.getfixturevalue("sender"), request.getfixturevalue("payload")
    sender.url = f"{PREFIX if router == 'passes it on' else ''}/webhooks/senang"

    assert sender.deliver(payload()).json["status"] == "accepted"


def test_every_link_form_file_and_live_part_has_the_prefix(inside, deliver, work, stored):
    deliver("policy.issued", event_id="evt_1")
    work()
    event = stored("evt_1")

    pages = ["/", "/events", f"/events/{event.id}", "/audit", "/captures", f"/subjects/policy/{event.policy_id}"]
    for page in [*pages, "/alerts"]:
        text = inside(PREFIX + page).text
        targets = re.findall(r'(?:href|src|action|hx-get)="(/[^"]*)"', text)
        assert len(targets) > 5, page
        assert {target for target in targets if not target.startswith(f"{PREFIX}/")} == set(), page
    for file in {target for target in targets if "/static/" in target}:
        with inside(file) as answer:
            assert answer.status_code == 200


def test_without_a_session_the_way_back_has_the_prefix(browse):
    refused = browse(f"{PREFIX}/events?state=dead")

    assert refused.headers["Location"] == f"{PREFIX}/sign-in?next={PREFIX}/events?state%3Ddead"


def test_a_bulk_replay_and_its_progress_are_reached_through_the_prefix(inside, deliver, csrf_token):
    deliver("policy.issued", event_id="evt_1")
    form = {"csrf_token": csrf_token(inside(f"{PREFIX}/events"))}

    planned = inside(f"{PREFIX}/bulk", "post", data=form)

    assert planned.headers["Location"].startswith(f"{PREFIX}/bulk/")
    assert inside(planned.headers["Location"]).status_code == 200


def test_the_prefix_itself_is_the_overview(inside):
    assert "Overview" in inside(PREFIX).text
    assert "Overview" in inside(f"{PREFIX}/").text


def test_a_wrong_path_is_named_as_it_is_seen_from_outside(browse, session, app):
    browse(f"{PREFIX}/webhooks/senang/", "post")

    noted = session.scalars(sa.select(AuditEntry.detail).where(AuditEntry.result == "rejected: wrong_path")).all()
    said = app.test_cli_runner().invoke(args=["events", "check"]).output

    assert noted == [f"{PREFIX}/webhooks/senang/"]
    assert f"The right path is {PREFIX}/webhooks/senang." in said


def test_the_command_that_sends_knows_the_address(app):
    printed = app.test_cli_runner().invoke(args=["senang", "trigger", "payment.success", "--print"]).output

    assert f"http://127.0.0.1:8000{PREFIX}/webhooks/senang" in printed


def test_gunicorn_serves_both_kinds_of_router(database, environment):
    with running(environment | {"DATABASE_URL": database}, EMBEDDED_WORKER="0") as receiver:
        receiver.web()
        paths = ["/healthz", f"{PREFIX}/healthz", f"{PREFIX}/sign-in", "/sign-in", f"{PREFIX}/static/page.css"]

        assert [receiver.status(path) for path in paths] == [200] * 5
        assert receiver.status(f"{PREFIX}{PREFIX}/healthz") == 404


@pytest.mark.parametrize(
    ("text", "prefix"), [("", ""), ("/", ""), ("/pay", "/pay"), ("/pay/", "/pay"), ("/a/b.c", "/a/b.c")]
)
def test_a_prefix_is_read_with_or_without_a_slash_at_its_end(text, prefix):
    assert load_settings(ENVIRONMENT | {"SCRIPT_NAME": text}).script_name == prefix


@pytest.mark.parametrize("text", ["hunter2", "/pay//v2", "/../etc", "/pay?x", "/pay me", "https://x/pay", "/événement"])
def test_what_is_no_path_stops_the_start(text):
    with pytest.raises(ConfigurationError, match="SCRIPT_NAME") as refused:
        load_settings(ENVIRONMENT | {"SCRIPT_NAME": text})

    assert text not in str(refused.value)


@pytest.mark.parametrize("text", ["/webhooks", "/events/", "/static/x"])
def test_a_prefix_that_begins_like_one_of_our_own_paths_stops_the_start(text):
    with pytest.raises(ConfigurationError, match="SCRIPT_NAME"):
        load_settings(ENVIRONMENT | {"SCRIPT_NAME": text})


def test_our_own_paths_are_known(app):
    assert {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()} - {""} == OWN_PATHS
