"""Signing in and out."""

from uuid import uuid4

from playwright.sync_api import expect

from receiver.testing import insert_user
from tests.receiver.browser.looks import in_every_browser
from tests.receiver.browser.people import begin_second_factor, expect_path, give_code, press, sign_in


@in_every_browser
def test_a_stranger_who_signs_in_gets_to_the_page_that_they_wanted(stranger):
    stranger.goto("/audit?action=delivery")
    expect(stranger.get_by_role("heading", name="Sign in")).to_be_visible()

    sign_in(stranger)

    expect_path(stranger, "/audit")
    expect(stranger.get_by_label("What")).to_have_value("delivery")


@in_every_browser
def test_a_wrong_password_is_said_and_lets_nobody_in(stranger, receiver):
    sign_in(stranger, password="wrong")

    expect(stranger.get_by_role("alert")).to_contain_text("The name or the password is wrong")
    stranger.goto("/events")
    expect_path(stranger, "/sign-in")


@in_every_browser
def test_signing_out_ends_the_session(stranger):
    sign_in(stranger)
    expect_path(stranger, "/events")

    press(stranger, "Sign out")

    expect_path(stranger, "/sign-in")
    stranger.goto("/events")
    expect_path(stranger, "/sign-in")


@in_every_browser
def test_signing_out_everywhere_ends_the_other_sessions_too(visit, quiet_receiver):
    here, there = visit(quiet_receiver), visit(quiet_receiver)
    sign_in(here)
    sign_in(there)

    here.goto("/sign-in")
    press(here, "Sign out everywhere")
    there.goto("/events")

    expect_path(there, "/sign-in")


@in_every_browser
def test_a_second_factor_is_set_up_on_the_account_page_and_asked_for_at_the_next_sign_in(visit, receiver):
    name, page = insert_user(receiver.inbox, f"user-{uuid4().hex}", "viewer"), visit(receiver)
    page.goto("/audit")
    sign_in(page, name=name)
    page.get_by_role("link", name=name).click()
    app = begin_second_factor(page)
    give_code(page, app.now(), "Turn the second factor on")
    recovery_code = page.locator(".codes code").first.inner_text()
    press(page, "Sign out")
    page.goto("/audit")
    sign_in(page, name=name)

    expect(page.get_by_role("heading", name="Your second factor")).to_be_visible()
    give_code(page, "000000", "Sign in")
    expect(page.get_by_role("alert")).to_contain_text("The code is wrong")
    give_code(page, recovery_code, "Sign in")

    expect_path(page, "/audit")
