"""Every platform in small, behind a real router that terminates TLS: see tests/field/laboratory.py."""

from dataclasses import replace

import pytest

from receiver.actions.users import hash_of
from receiver.settings.platforms import NAMES, platform_of
from receiver.testing import PASSWORD
from tests.field import laboratory, platforms
from tests.field.deployed import can_run
from tests.field.laboratory import ROWS, examined, site
from tests.field.platforms import PLATFORMS
from tests.field.table import in_the_page, recorded, table
from tests.receiver import routers
from tests.receiver.browser.chromium import ABSENT as NO_CHROMIUM
from tests.receiver.browser.chromium import find_chromium
from tests.receiver.owners import is_fork

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(not can_run(), reason="only root can be another user"),
    pytest.mark.skipif(is_fork(), reason="a fork keeps the files of its own platform, and edits them"),
    pytest.mark.skipif(not routers.all_found(), reason=routers.ABSENT),
    pytest.mark.skipif(find_chromium() is None, reason=NO_CHROMIUM),
]


def test_every_platform_is_in_the_laboratory():
    files = {row.deploy for row in ROWS.values()}
    recognised = {platform.name for row in ROWS.values() if (platform := platform_of(_environment(row)))}

    assert set(PLATFORMS.values()) - {platforms.image} <= files
    assert set(NAMES) == recognised


def test_the_table_of_the_document_has_what_the_last_run_found_of_every_platform():
    assert list(recorded()) == list(ROWS)
    assert in_the_page() == table(recorded())
    assert [name for name, facts in recorded().items() if facts["wrong"]] == []


def _environment(row):
    deploy = row.deploy()
    return {**deploy.settings, **deploy.announces}


AGAIN = ["Heroku", "A server of your own, nginx", "A server of your own, Caddy"]
"""With Fly.io, every kind of router. `make field` tries all rows, and the test above holds that nothing was wrong."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("Fly.io", marks=pytest.mark.soak),
        *(pytest.param(name, marks=pytest.mark.field) for name in AGAIN),
    ],
)
def test_a_platform_takes_deliveries_and_operators_through_its_router_and_stops_in_order(
    name, code, database_of_a_platform
):
    with site(ROWS[name], code, database_of_a_platform) as there:
        assert examined(there)["wrong"] == {}


STRICT = """
from wsgi import app

app.config["WTF_CSRF_SSL_STRICT"] = True
ours = app.wsgi_app


def with_another_policy(environ, start_response):
    def start(status, headers, *rest):
        kept = [(name, value) for name, value in headers if name != "Referrer-Policy"]
        return start_response(status, [*kept, ("Referrer-Policy", POLICY)], *rest)

    return ours(environ, start)


app.wsgi_app = with_another_policy
"""
"""A receiver that compares the Referer of each form with the Host, and says which Referer browsers send."""

OPERATOR_BY_SETTINGS = {
    "FIRST_OPERATOR_NAME": laboratory.OPERATOR,
    "FIRST_OPERATOR_PASSWORD_HASH": hash_of(PASSWORD),
}


@pytest.fixture
def strict(tmp_path_factory):
    """A platform that runs such a receiver. NOBODY may read its folder."""
    folder = tmp_path_factory.mktemp("strict")

    def row(policy):
        (folder / "strict.py").write_text(f"POLICY = {policy!r}\n{STRICT}")
        deploy = ROWS["Coolify"].deploy()
        changed = replace(deploy, web=f"{deploy.web.replace('wsgi:', 'strict:')} --pythonpath {folder}")
        return replace(ROWS["Coolify"], deploy=lambda: changed)

    return row


@pytest.mark.soak
@pytest.mark.parametrize(
    ("policy", "wrong"), [("no-referrer", {"pages": "the sign-in form was refused"}), ("same-origin", {})]
)
def test_the_laboratory_is_red_for_the_policy_that_refused_every_form_over_https(
    policy, wrong, strict, code, database_of_a_platform
):
    with site(strict(policy), code, database_of_a_platform, **OPERATOR_BY_SETTINGS) as there:
        assert examined(there, [laboratory.deliveries, laboratory.pages])["wrong"] == wrong


@pytest.mark.soak
def test_forms_need_no_referer_from_the_router(code, database_of_a_platform):
    silent = replace(ROWS["Coolify"], front=replace(ROWS["Coolify"].front, removes=("Referer",)))
    with site(silent, code, database_of_a_platform, **OPERATOR_BY_SETTINGS) as there:
        assert examined(there, [laboratory.deliveries, laboratory.pages])["wrong"] == {}


@pytest.mark.soak
@pytest.mark.parametrize(
    ("count", "wrong"), [("1", ["client_address", "wrong_passwords"]), ("2", ["the_first_operator", "deliveries"])]
)
def test_the_laboratory_is_red_for_one_count_for_all_forwarded_headers(count, wrong, code, database_of_a_platform):
    """On Fly.io, X-Forwarded-For has two addresses and X-Forwarded-Proto has one value. No count fits both."""
    one_count = dict.fromkeys(("FORWARDED_FOR_HOPS", "FORWARDED_PROTO_HOPS"), count)
    with site(ROWS["Fly.io"], code, database_of_a_platform, **one_count) as there:
        checks = [laboratory.the_first_operator, laboratory.deliveries]
        checks += [laboratory.client_address, laboratory.wrong_passwords] if count == "1" else []

        assert list(examined(there, checks)["wrong"]) == wrong
