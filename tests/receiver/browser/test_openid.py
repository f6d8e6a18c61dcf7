"""Sign-in and sign-out at a real OpenID provider in a browser: the policy of the pages lets it happen, and no more."""

import pytest
from playwright.sync_api import expect

from receiver.testing import PASSWORD
from tests.receiver.browser.conftest import PATIENCE, REPORT_VIOLATIONS
from tests.receiver.browser.people import expect_path, press
from tests.receiver.browser.test_every_page import faults
from tests.receiver.openid_provider import RETURN, running_provider, settings_of
from tests.receiver.processes import running
from tests.receiver.settings import ENVIRONMENT


@pytest.fixture(scope="module")
def ways(shared_database, tmp_path_factory, chromium):
    """A receiver, and the provider at which people sign in."""
    with running(ENVIRONMENT | {"DATABASE_URL": shared_database}, EMBEDDED_WORKER="0") as receiver:
        here = f"http://127.0.0.1:{receiver.port}"
        with running_provider(tmp_path_factory.mktemp("provider") / "openid", here + RETURN) as provider:
            provider.says("aminah", roles=["claims-viewer"])
            known = {"REQUESTS_CA_BUNDLE": provider.ca_file, "OIDC_REDIRECT_URI": here + RETURN}
            receiver.environment |= settings_of(provider.issuer) | known
            receiver.web()
            yield here, provider.issuer


@pytest.fixture
def open_page(chromium, ways):
    """A page of a browser of its own; what it complains of fails the test."""
    said, profiles = [], []

    def make(**options):
        profile = chromium.new_context(base_url=ways[0], ignore_https_errors=True, **options)
        profiles.append(profile)
        profile.set_default_timeout(PATIENCE)
        profile.add_init_script(REPORT_VIOLATIONS)
        profile.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        return profile.new_page()

    yield make
    for profile in profiles:
        profile.close()
    assert [text for text in said if not text.startswith("Failed to load resource")] == []


def sign_in(page):
    """From the sign-in page to the provider, and back."""
    page.get_by_role("link", name="Sign in at 127.0.0.1").click()
    page.get_by_label("User").fill("aminah")
    page.get_by_label("Secret").fill(PASSWORD)
    press(page, "Enter")


@pytest.mark.parametrize("javascript", [pytest.param(True, marks=pytest.mark.soak), False])
def test_a_person_gets_to_the_page_that_they_wanted_and_is_signed_out_at_the_provider_too(open_page, javascript):
    page = open_page(java_script_enabled=javascript)
    page.goto("/audit")
    sign_in(page)
    expect_path(page, "/audit")

    press(page, "Sign out")
    expect(page.get_by_role("heading", name="Sign out of the provider?")).to_be_visible()
    press(page, "Yes")

    expect_path(page, "/sign-in")
    page.goto("/audit")
    expect_path(page, "/sign-in")


@pytest.mark.soak
def test_axe_finds_nothing_on_the_pages_around_the_provider(open_page, ways):
    page = open_page()
    page.goto("/sign-in")
    found = faults(page)
    page.goto(RETURN)
    expect(page.get_by_role("heading", name="You are not signed in")).to_be_visible()
    found += faults(page)
    page.goto("/sign-in")
    sign_in(page)
    page.goto("/account")
    found += faults(page)
    page.route(f"{ways[1]}/**", lambda route: route.abort("aborted"))
    press(page, "Sign out")
    expect(page.get_by_role("heading", name="You are signed out here")).to_be_visible()

    assert found + faults(page) == []
