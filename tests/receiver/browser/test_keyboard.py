"""Everything without a mouse."""

import pytest
from playwright.sync_api import expect

from receiver.testing import PASSWORD
from tests.receiver.browser.looks import in_all_colours, in_every_browser
from tests.receiver.browser.people import expect_path, state_of
from tests.receiver.browser.world import USERS

FOCUS = """() => {
  const focused = document.activeElement, style = getComputedStyle(focused), box = focused.getBoundingClientRect();
  return {
    tag: focused.tagName,
    name: (focused.labels?.[0]?.innerText || focused.innerText || "").trim(),
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    onScreen: box.left >= 0 && box.right <= document.documentElement.clientWidth && box.width > 0,
  };
}"""
MOST = 400


@pytest.fixture
def tab_to(operator):
    """Press Tab until the focus is on the name; what it passed."""

    def press(name):
        passed = []
        for _ in range(MOST):
            operator.keyboard.press("Tab")
            passed.append(operator.evaluate(FOCUS))
            if passed[-1]["name"] == name:
                return passed
        raise AssertionError(f"{name} was not reached: {[stop['name'] for stop in passed]}")

    return press


@in_every_browser
def test_one_signs_in_without_a_mouse(stranger):
    stranger.goto("/sign-in")
    expect(stranger.get_by_label("Name")).to_be_focused()

    stranger.keyboard.type(USERS["operator"])
    stranger.keyboard.press("Tab")
    stranger.keyboard.type(PASSWORD)
    stranger.keyboard.press("Enter")

    expect_path(stranger, "/events")


@in_every_browser
def test_the_first_stop_is_the_way_to_the_content(operator, tab_to):
    operator.goto("/events")

    operator.keyboard.press("Tab")
    skip = operator.evaluate(FOCUS)
    operator.keyboard.press("Enter")
    expect(operator.locator("main:target")).to_be_visible()
    operator.keyboard.press("Tab")

    assert (skip["name"], skip["onScreen"]) == ("Skip to the content", True)
    expect(operator.locator("main :focus")).to_be_visible()  # a notice may stand before the search


@in_all_colours
def test_every_stop_on_the_way_to_the_main_actions_is_visible(operator, receiver, tab_to):
    event = receiver.dead()
    operator.goto(f"/events?q={event['event_id']}")

    passed = tab_to("Find") + tab_to("Replay all that match…") + tab_to(event["event_id"])

    assert [stop for stop in passed if not stop["outlined"] or not stop["onScreen"]] == []


@in_every_browser
def test_an_event_is_found_opened_and_replayed_without_a_mouse(operator, receiver, tab_to):
    event = receiver.dead()
    operator.goto("/events")

    tab_to("Event, transaction, policy or claim ID")
    operator.keyboard.type(event["event_id"])
    operator.keyboard.press("Enter")
    expect(operator.locator("#list tbody a.id[id]")).to_have_count(1)
    tab_to(event["event_id"])
    operator.keyboard.press("Enter")
    expect(state_of(operator)).to_have_text("dead")
    tab_to("Replay")
    operator.keyboard.press("Enter")

    expect(state_of(operator)).to_have_text("pending")


@in_every_browser
def test_the_payload_folds_without_a_mouse(operator, receiver, tab_to):
    event = receiver.processed(data={"customer": {"name": "Siti"}})
    operator.goto(f"/events/{receiver.stored(event['event_id']).id}")

    tab_to("customer")
    operator.keyboard.press("Enter")

    expect(operator.get_by_text("[text 4]")).to_be_hidden()
