"""A delivery that misses the webhook's path leaves a trace, and is never redirected."""

import json

import pytest
import sqlalchemy as sa

from receiver.store.audit import write_finished_sums
from receiver.store.models import AuditEntry
from receiver.testing import both_databases

NEAR = [
    "/webhooks/senang/", "/webhooks//senang", "/Webhooks/Senang", "/webhook/senang", "/webhooks/senag", "/senang",
    "/webhooks", "/webhooks/", "/api/v1/webhooks/senang", "/webhooks/senang/events", "/webhooks/senang.php",
    "/webhooks-senang", "/webhooks/senang ", "/webhoks/sennag", "/old/webhooks/senang/",
]  # fmt: skip
FAR = ["/wp-login.php", "/xmlrpc.php", "/api/login", "/cgi-bin/luci", "/", "/.env", f"/webhooks/{'x' * 200}"]


@pytest.fixture
def noted(inbox):
    """The audited wrong paths: what is shown of each, and how often it came."""

    def find():
        wrong = sa.select(AuditEntry.detail, AuditEntry.occurrences).where(AuditEntry.result == "rejected: wrong_path")
        with inbox.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(wrong.order_by(AuditEntry.id))]

    return find


@pytest.fixture
def check(app):
    def run(*options):
        result = app.test_cli_runner().invoke(args=["events", "check", "--json", *options])
        return json.loads(next(line for line in result.output.splitlines() if line.startswith('{"ok"')))

    return run


@pytest.fixture
def post(app):
    """POST to exactly this path, as a server hands it on."""
    client = app.test_client()
    return lambda path, **more: client.post("/", environ_overrides={"PATH_INFO": path}, **more)


@pytest.mark.parametrize("path", NEAR)
def test_a_path_that_is_near_is_named_and_the_answer_stays_404(path, post, noted):
    answer = post(path, data=b"{}")

    assert answer.status_code == 404
    assert "Location" not in answer.headers
    assert noted() == [(path.replace(" ", "%20"), 1)]


@pytest.mark.parametrize("path", FAR)
def test_what_a_stranger_scans_for_is_not_noted(path, post, noted):
    assert post(path, data=b"{}").status_code in (404, 405)
    assert noted() == []


@pytest.mark.parametrize("path", ["/", "/hooks/insurance", "/sign-in", "/bulk", "/events/1/replay", "/readyz"])
def test_what_carries_a_signature_is_noted_wherever_it_goes_but_its_path_is_not(path, post, noted):
    post(path, data=b"{}", headers={"Webhook-Signature": "v1,abc"})

    assert noted() == [(None, 1)]


@pytest.mark.parametrize("path", ["/sign-in", "/bulk", "/webhooks/senang"])
def test_a_post_to_a_page_without_a_signature_and_one_to_the_webhook_are_at_no_wrong_path(path, post, noted):
    headers = {"Webhook-Signature": "v1,abc"} if path == "/webhooks/senang" else {}
    post(path, data=b"{}", headers=headers)

    assert noted() == []


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_only_posts_are_noted(app, noted, method):
    getattr(app.test_client(), method)("/webhooks/senang/")

    assert noted() == []


def test_a_path_is_masked_and_inert(post, noted, signed_in):
    post("/webhooks/senang/<script>alert(1)</script>/880101-14-5678")

    shown = noted()[0][0]
    assert "880101" not in shown
    assert "<script>" not in signed_in().get("/").text


@both_databases
def test_check_and_overview_say_how_many_came_and_what_the_address_is(post, check, signed_in):
    for _ in range(8):
        post("/webhooks/senang/")
    post("/webhook/senang")

    said = check()
    sentence = said["alarms"][said["codes"].index("wrong_path")]

    assert sentence.startswith("9 POSTs came within an hour to a path that looks like the webhook's.")
    assert "The right path is /webhooks/senang." in sentence
    assert sentence.endswith("Most often: /webhooks/senang/")
    assert "wrong_path" not in check("--max-wrong-paths", "9")["codes"]
    assert "The right path is /webhooks/senang." in signed_in().get("/").text


def test_an_hour_later_it_is_no_alarm_any_more(post, check, clock):
    post("/webhooks/senang/")
    clock.advance(minutes=61)

    assert "wrong_path" not in check()["codes"]


@both_databases
def test_a_flood_of_wrong_paths_does_not_fill_the_audit_log(post, noted, inbox, clock, check):
    for number in range(40):
        post(f"/webhooks/senang/{number}")
    clock.advance(minutes=1)
    write_finished_sums(inbox)

    assert len(noted()) < 40  # 10 a minute and a sum, and a slow machine takes more than one minute
    assert check()["wrong_paths"] == 40


def test_a_wrong_path_over_plain_http_is_noted_too(environment, request):
    environment["REQUIRE_HTTPS"] = "1"
    post, noted = request.getfixturevalue("post"), request.getfixturevalue("noted")

    assert post("/webhooks/senang/").status_code == 403
    assert noted() == [("/webhooks/senang/", 1)]
