"""Signing in and out."""

from playwright.sync_api import expect

from tests.receiver.browser.looks import in_every_browser
from tests.receiver.browser.people import expect_path, press, sign_in


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
