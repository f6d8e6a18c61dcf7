"""Parts of a page that keep themselves up to date: what they say when they can't, and that they recover."""

import re
from contextlib import contextmanager
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.receiver.browser.people import find, send, sign_in

TICK = 5_000
NOTE_ALERTS = """() => {
  window.written = [];
  const alert = "[role=alert]";
  const isAlert = node => (node.parentElement ?? node).closest(alert) || node.querySelector?.(alert);
  const note = ({target, type, addedNodes}) => {
    const touched = type === "characterData" ? [target] : [...addedNodes];
    window.written.push(...touched.filter(isAlert).map(node => node.textContent));
  };
  new MutationObserver(changes => changes.forEach(note))
    .observe(document.body, {subtree: true, childList: true, characterData: true});
}"""
PARTS = {"/": "#now", "/events": "#list"}


@pytest.fixture
def complaints(complaints):
    """Here a page has to complain: what it asks for is refused."""
    yield complaints
    complaints.clear()


@pytest.fixture
def tick(operator):
    """Let the page refresh itself."""
    operator.clock.install()
    return lambda: operator.clock.run_for(TICK)


@contextmanager
def answered(page, **answer):
    """Every request is answered so; without words, it is not answered at all."""
    page.route("**/*", lambda route: route.fulfill(**answer) if answer else route.abort())
    yield
    page.unroute("**/*")


@pytest.mark.parametrize("path", PARTS)
def test_a_part_whose_session_has_ended_stays_and_says_so_until_one_signs_in_again(operator, tick, path):
    operator.goto(path)
    before = operator.locator(PARTS[path]).inner_text()
    cookies = operator.context.cookies()
    operator.context.clear_cookies()
    tick()

    expect(operator.get_by_role("alert").filter(has_text="Your session has ended.")).to_contain_text("as of 20")
    assert operator.locator(PARTS[path]).inner_text() == before
    link = operator.get_by_role("link", name="Sign in again")
    assert link.get_attribute("href") == f"/sign-in?next={path.replace('/', '%2F')}"
    operator.context.add_cookies(cookies)
    tick()
    expect(link).to_have_count(0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, "The receiver does not answer."),
        ({"status": 503, "body": "{}"}, "answers with an error (503)"),
        ({"status": 502, "body": "<h1>Bad Gateway</h1>"}, "answers with an error (502)"),
        ({"status": 200, "body": "<h1>Sign in to the network</h1>"}, "can't be refreshed any more"),
    ],
)
def test_a_part_that_is_not_refreshed_says_since_when_it_is_old_and_recovers(operator, tick, answer, words):
    operator.goto("/")
    notice = operator.locator("#stale-now")
    with answered(operator, **answer):
        tick()
        expect(notice).to_contain_text(words)
        expect(notice).to_contain_text("What is shown below is as of 20")
        expect(operator.locator("#now")).to_be_visible()

    tick()
    expect(notice).to_have_count(0)


def test_the_progress_of_a_bulk_replay_stays_when_the_session_has_ended(operator, receiver, tick):
    policy = f"POL-{uuid4().hex}"
    receiver.processed(policy_id=policy)
    operator.goto("/events")
    find(operator, policy)
    send(operator, "Replay all that match…")
    send(operator, "Replay them")
    operator.context.clear_cookies()
    tick()

    expect(operator.get_by_role("alert")).to_contain_text("Your session has ended.")
    expect(operator.get_by_role("status")).to_contain_text("Running")


def test_an_alert_that_is_the_same_is_not_written_again(operator, tick):
    operator.goto("/")
    operator.evaluate(NOTE_ALERTS)
    assert operator.get_by_role("alert").count()

    for _ in range(3):
        with operator.expect_response("**/?"):
            tick()
        operator.clock.run_for(100)

    assert operator.evaluate("window.written") == []


def test_a_receiver_that_stays_away_is_announced_once(operator, tick):
    operator.goto("/")
    with answered(operator):
        tick()
        notice = operator.locator("#stale-now")
        expect(notice).to_be_visible()
        notice.evaluate("node => { window.first = node }")
        with operator.expect_event("requestfailed"):
            tick()
        operator.clock.run_for(100)

        assert operator.evaluate("window.first.isConnected && window.first.textContent") == notice.inner_text() + " "


def test_a_change_touches_only_what_differs(operator, receiver, tick):
    prefix = f"evt_{uuid4().hex}"
    receiver.deliver(event_id=f"{prefix}-1")
    operator.goto(f"/events?q={prefix}")
    operator.get_by_role("link", name=f"{prefix}-1").evaluate("node => { window.first = node }")
    receiver.deliver(event_id=f"{prefix}-2")
    tick()

    expect(operator.get_by_role("link", name=f"{prefix}-2")).to_be_visible()
    assert operator.evaluate("window.first.isConnected")
    assert operator.locator("#list tbody tr").count() == 2


def test_a_sign_in_through_the_notice_leads_back(operator, tick):
    operator.goto("/events?state=dead")
    operator.context.clear_cookies()
    tick()

    operator.get_by_role("link", name="Sign in again").click()
    sign_in(operator)

    expect(operator).to_have_url(re.compile(r"/events\?state=dead$"))
