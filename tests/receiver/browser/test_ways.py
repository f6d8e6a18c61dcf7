"""Every form on every way to the receiver: plain HTTP, gunicorn's own TLS, and behind an nginx that terminates TLS."""

import pytest
from playwright.sync_api import expect

from tests.receiver.browser.looks import on_every_way
from tests.receiver.browser.people import expect_path, find, press, send, sign_in, state_of

pytestmark = on_every_way


@pytest.fixture
def siti(stranger):
    """An operator who signed in on the way of the test."""
    sign_in(stranger)
    expect_path(stranger, "/events")
    return stranger


def test_one_signs_in_and_out_again_and_the_session_travels_as_safely_as_the_page(siti):
    (cookie,) = [cookie for cookie in siti.context.cookies() if cookie["name"] == "session"]

    press(siti, "Sign out")

    expect_path(siti, "/sign-in")
    assert cookie["secure"] is siti.url.startswith("https:")
    siti.goto("/events")
    expect_path(siti, "/sign-in")


def test_an_event_is_replayed(siti, receiver):
    sent = receiver.dead()
    siti.goto(f"/events/{receiver.stored(sent['event_id']).id}")

    press(siti, "Replay")

    expect(state_of(siti)).to_have_text("pending")
    assert receiver.audited("replay", sent["event_id"]) == ["due again"]


def test_all_that_fit_are_replayed(siti, receiver):
    sent = receiver.dead()
    siti.goto("/events")
    find(siti, sent["event_id"])
    send(siti, "Replay all that match…")
    send(siti, "Replay them")
    receiver.work()
    siti.reload()

    expect(siti.get_by_role("status")).to_contain_text("Done: 1 replayed")


def test_capturing_is_started_and_stopped(siti):
    siti.goto("/captures")
    if siti.get_by_role("button", name="Stop").count():
        send(siti, "Stop")

    send(siti, "Capture for 10 minutes")
    expect(siti.get_by_role("status")).to_contain_text("Capturing for 10 minutes")
    send(siti, "Stop")

    expect(siti.get_by_role("status")).to_contain_text("Capturing has stopped")


def test_a_form_of_a_session_that_ended_leads_through_the_sign_in_back_to_its_page(siti, receiver):
    sent = receiver.dead()
    path = f"/events/{receiver.stored(sent['event_id']).id}"
    siti.goto(path)
    siti.context.clear_cookies()

    send(siti, "Replay")
    expect(siti.get_by_role("heading", level=1)).to_have_text("The form is out of date")
    siti.go_back()
    siti.reload()
    sign_in(siti)

    expect_path(siti, path)
    assert receiver.audited("replay", sent["event_id"]) == []
