"""From a sender of an unknown format to its first processed event, on the pages alone and in fewer than ten clicks."""

import re

import pytest
from playwright.sync_api import expect

from receiver.actions.apply_settings import revoke_settings
from receiver.testing.waiting import eventually
from tests.receiver.browser.people import press, state_of
from tests.receiver.browser.test_every_page import faults

MOST_CLICKS = 9
COUNT_CLICKS = "document.addEventListener('click', () => clicked(), true)"


@pytest.fixture
def clicks(operator):
    """Every click of the operator so far, on whatever page."""
    found = []
    operator.expose_function("clicked", lambda: found.append(operator.url))
    operator.add_init_script(COUNT_CLICKS)
    return found


@pytest.fixture
def stranger_format(receiver):
    """Somebody who signs as GitHub does. What is applied for it is revoked for the tests that follow."""
    yield receiver.sender_of_another_scheme()
    revoke_settings(receiver.inbox, actor="test")
    eventually(lambda: receiver.sender.deliver(receiver.payload()).status == 200)


def test_an_unknown_format_is_captured_found_applied_and_processed_in_fewer_than_ten_clicks(
    operator, receiver, stranger_format, clicks
):
    operator.goto("/")
    sent = receiver.payload()

    operator.get_by_role("link", name="Captures").click()
    press(operator, "Capture for 10 minutes")
    expect(operator.get_by_role("status")).to_contain_text("Capturing for 10 minutes")
    for payload in (receiver.payload(), sent, sent):
        assert stranger_format.deliver(payload).status == 401
    operator.get_by_role("link", name="Captures").click()
    operator.get_by_role("link", name="Diagnose").first.click()
    expect(operator.locator("#settings")).to_contain_text("SENANG_SIGNATURE_SCHEME=github")
    expect(operator.get_by_role("button", name="Copy the settings")).to_be_visible()
    rehearsed = re.compile("Under these settings [0-9]+ of [0-9]+ captures would have been accepted; duplicates: 1")
    expect(operator.get_by_text(rehearsed)).to_be_visible()
    press(operator, "Apply these settings")
    expect(operator.get_by_role("status")).to_contain_text("Applied.")
    expect(operator.locator("#applied")).to_contain_text("SENANG_SIGNATURE_SCHEME=github")
    eventually(lambda: stranger_format.deliver(sent).status == 200)
    receiver.work()
    operator.get_by_role("link", name="Events").click()
    operator.get_by_role("link", name=receiver.shown(sent["event_id"])).click()

    expect(state_of(operator)).to_have_text("processed")
    assert 7 <= len(clicks) <= MOST_CLICKS
    operator.goto("/captures")
    expect(operator.locator("#applied")).to_be_visible()
    assert faults(operator) == []
    press(operator, "Stop")


def test_a_diagnosis_that_found_nothing_asks_for_what_may_be_missing(operator, receiver):
    operator.goto("/captures")
    press(operator, "Capture for 10 minutes")
    unknown = receiver.sender_of_another_scheme()
    unknown.key = b"a secret that the receiver does not have"
    assert unknown.deliver(receiver.payload()).status == 401
    operator.reload()
    operator.get_by_role("link", name="Diagnose").first.click()
    operator.get_by_label("Application key or partner code").fill("APP-77")
    press(operator, "Diagnose with it")

    expect(operator.get_by_label("Application key or partner code")).to_have_value("APP-77")
    assert faults(operator) == []
    operator.get_by_role("link", name="Captured deliveries").click()
    press(operator, "Stop")
