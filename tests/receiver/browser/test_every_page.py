"""What holds on every page: axe finds nothing, nothing has to be scrolled sideways, nothing violates the policy.

To have another page watched, add the way to it to `PAGES`.
"""

from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from receiver.actions.alerts import snooze, wake
from receiver.alerts.watching import look as watch
from receiver.testing import insert_user
from tests.receiver.browser.looks import PAINTED
from tests.receiver.browser.people import begin_second_factor, expect_path, find, give_code, press, sign_in, unfold
from tests.receiver.browser.world import STORY

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
FOUND_BY_AXE = """async only => {
  const options = {runOnly: only, resultTypes: ["violations"], selectors: false};
  const {violations} = await axe.run(document, options);
  return violations.flatMap(found => found.nodes.map(node => `${found.id}: ${node.html} ${node.failureSummary}`));
}"""
EVERYTHING = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
LOOKS = tuple(zip(PAINTED, (EVERYTHING, COLOURS, COLOURS, EVERYTHING), strict=True))
"""Every rule at every width. In the other colours, a page can differ in nothing but its colours."""
PAGES = {}


def way(function):
    """A way to a page, walked by an operator."""
    PAGES[function.__name__.replace("_", " ")] = function
    return function


def at(path):
    return lambda page, receiver: page.goto(path)


def event_in(state, **columns):
    return lambda page, receiver: page.goto(f"/events/{receiver.first(state=state, **columns).id}")


PAGES |= {
    "overview": at("/"),
    "events": at("/events"),
    "no event fits": at("/events?q=nothing"),
    "an address that is not understood": at("/events?state=lost"),
    "a processed event": event_in("processed", id_reused=False),
    "an event whose ID was used again": event_in("processed", id_reused=True),
    "a dead event": event_in("dead"),
    "an unhandled event": event_in("unhandled"),
    "an unusable body": event_in("quarantined", quarantine_reason="unusable"),
    "a stale body": event_in("quarantined", quarantine_reason="stale"),
    "a policy": at(f"/subjects/policy/{STORY}"),
    "a transaction": at("/subjects/transaction/TXN-204518"),
    "a claim": at("/subjects/claim/CLM-7781"),
    "a policy that nobody mentioned": at("/subjects/policy/POL-nobody"),
    "audit log": at("/audit"),
    "an empty audit log": at("/audit?event_id=nothing"),
    "failures": at("/failures"),
    "workers": at("/workers?span=30d"),
    "no failures": at("/events?cause=000000000000"),
    "support for a time": at("/support/time"),
    "signed in": at("/sign-in"),
}


@way
def alerts_that_can_be_acknowledged(page, receiver):
    watch(receiver.inbox)
    wake(receiver.inbox, "dead", actor="siti")
    page.goto("/alerts")
    expect(page.get_by_role("button", name="Acknowledge").first).to_be_visible()


@way
def an_alert_that_is_snoozed(page, receiver):
    watch(receiver.inbox)
    snooze(receiver.inbox, "dead", 8, actor="siti")
    page.goto("/alerts")
    expect(page.get_by_text("Nothing is sent until")).to_be_visible()


@way
def an_event_that_waits(page, receiver):
    page.goto(f"/events/{receiver.stored(receiver.deliver()['event_id']).id}")


@way
def an_event_with_long_words(page, receiver):
    event = receiver.deliver("x" * 120, event_id=f"evt_{uuid4().hex}{'x' * 120}", data={"y" * 90: "z" * 300})
    page.goto(f"/events/{receiver.stored(event['event_id']).id}")


@way
def replayed_once_more(page, receiver):
    page.goto(f"/events/{receiver.first(state='processed').id}")
    press(page, "Replay…")
    expect(page.get_by_label("Reason")).to_be_visible()


@way
def what_a_replay_said(page, receiver):
    page.goto(f"/events/{receiver.stored(receiver.dead()['event_id']).id}")
    press(page, "Replay")
    expect(page.get_by_role("status")).to_be_visible()


@way
def a_planned_bulk_replay(page, receiver):
    page.goto("/events")
    find(page, STORY)
    press(page, "Replay all that match…")
    expect(page.get_by_role("button", name="Replay them")).to_be_visible()


@way
def a_running_bulk_replay(page, receiver):
    a_planned_bulk_replay(page, receiver)
    press(page, "Replay them")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()


@way
def a_finished_bulk_replay(page, receiver):
    a_running_bulk_replay(page, receiver)
    receiver.work()
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("Done")


@way
def a_planned_bulk_dismissal(page, receiver):
    page.goto("/events?state=unhandled")
    unfold(page, "Dismiss, or give a reason")
    page.get_by_label("Reason (to dismiss, needed)").fill("tests of the sender")
    press(page, "Dismiss all that match…")
    expect(page.get_by_role("button", name="Dismiss them")).to_be_visible()


@way
def pauses(page, receiver):
    page.goto("/pauses")
    page.get_by_label("Event type").fill("test.nobody")
    page.get_by_label("Reason").fill("the bank is down")
    press(page, "Pause this type")
    expect(page.get_by_text("the bank is down").first).to_be_visible()


@way
def an_overview_that_says_what_is_paused(page, receiver):
    pauses(page, receiver)
    page.goto("/")
    expect(page.get_by_text("the bank is down").first).to_be_visible()


@way
def one_person(page, receiver):
    _found(page, receiver)
    press(page, "Hold")
    page.get_by_label("Received from").fill("2020-01-01T00:00")
    press(page, "Count")
    expect(page.get_by_text("People by nric")).to_be_visible()
    expect(page.get_by_role("button", name="Release").first).to_be_visible()


@way
def what_is_known_of_one_person(page, receiver):
    _found(page, receiver)


@way
def an_erasure_that_waits_for_a_yes(page, receiver):
    _found(page, receiver)
    press(page, "Erase…")
    expect(page.get_by_role("button", name="Erase them")).to_be_visible()


@way
def support_for_an_event(page, receiver):
    page.goto(f"/support/events/{receiver.first(state='dead').id}")


@way
def an_event_with_times_in_malaysia(page, receiver):
    page.goto(f"/events/{receiver.first(state='dead').id}")
    press(page, "Malaysian time")
    expect(page.get_by_text("MYT").first).to_be_visible()


@way
def tokens(page, receiver):
    page.goto("/tokens")
    page.get_by_label("Name of the program").fill(f"program {uuid4().hex[:8]}")
    page.get_by_label("health:read").check()
    press(page, "Make the token")
    expect(page.get_by_text("it is not shown again")).to_be_visible()


@way
def captures(page, receiver):
    _captured(page, receiver)
    page.goto("/captures")


@way
def a_diagnosis(page, receiver):
    _captured(page, receiver)
    page.goto("/captures")
    page.get_by_role("link", name="Diagnose").first.click()
    expect(page.locator("#settings")).to_be_visible()


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_nothing_is_scrolled_sideways(operator, receiver, name):
    PAGES[name](operator, receiver)

    assert faults(operator) == []


def test_nothing_is_wrong_with_the_way_in(stranger):
    stranger.goto("/sign-in")
    before = faults(stranger)
    sign_in(stranger, password="wrong")
    expect(stranger.get_by_role("alert")).to_be_visible()

    assert (before, faults(stranger)) == ([], [])


@pytest.mark.soak
def test_nothing_is_wrong_with_the_second_factor(visit, receiver):
    name, page = insert_user(receiver.inbox, f"user-{uuid4().hex}"), visit(receiver)
    page.goto("/account")
    sign_in(page, name=name)
    app, found = begin_second_factor(page), faults(page)
    give_code(page, app.now(), "Turn the second factor on")
    expect(page.get_by_role("heading", name="Your recovery codes")).to_be_visible()
    found += faults(page)
    page.goto("/account")
    found += faults(page)
    press(page, "Sign out")
    sign_in(page, name=name)
    expect(page.get_by_role("heading", name="Your second factor")).to_be_visible()

    assert found + faults(page) == []


@pytest.mark.parametrize("path", ["/", "/events", "/alerts", "/audit", "/support/time"])
def test_nothing_is_wrong_with_what_a_viewer_sees(viewer, path):
    viewer.goto(path)

    assert faults(viewer) == []


@pytest.mark.parametrize("path", ["/", "/events", "/captures"])
def test_nothing_is_wrong_where_nothing_has_happened_yet(visit, quiet_receiver, path):
    page = visit(quiet_receiver)
    page.goto(path)
    sign_in(page)
    expect_path(page, path)

    assert faults(page) == []


def test_the_overviews_chart_can_be_read_as_a_table_too(operator):
    operator.goto("/")

    operator.get_by_text("As a table").click()

    expect(operator.get_by_role("columnheader", name="accepted")).to_be_visible()
    assert faults(operator) == []


@pytest.mark.parametrize(
    ("forbidden", "directive"),
    [
        ("document.body.setAttribute('style', 'color: red')", "style-src-attr"),
        ("fetch('http://elsewhere.test/').catch(() => null)", "connect-src"),
    ],
)
def test_what_the_policy_forbids_would_be_noticed(operator, complaints, forbidden, directive):
    operator.goto("/events")

    report = "new Promise(done => document.addEventListener('securitypolicyviolation', () => done()))"
    operator.evaluate(f"async () => {{ const reported = {report}; {forbidden}; await reported; }}")

    noticed = "\n".join(complaints)
    complaints.clear()
    assert f"violates the policy: {directive}" in noticed


def test_what_axe_finds_would_be_noticed(operator):
    operator.goto("/events")

    operator.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=\"/static/icon.svg\">')"
    )

    assert "image-alt" in "".join(faults(operator))


def faults(page):
    """What is wrong with the page as it stands there, wide and narrow, light and dark."""
    page.evaluate(_axe())
    found = []
    for look, rules in LOOKS:
        page.set_viewport_size({"width": look.width, "height": 844})
        page.emulate_media(color_scheme=look.colours)
        if (needed := page.evaluate("document.scrollingElement.scrollWidth")) > look.width:
            found.append(f"{look}: {needed} pixels wide")
        found += [f"{look}: {fault}" for fault in page.evaluate(FOUND_BY_AXE, rules)]
    return found


@cache
def _axe():
    return AXE.read_text()


def _found(page, receiver):
    """What is known of somebody whom nobody else asks for."""
    email = f"{uuid4().hex}@example.my"
    receiver.deliver(data={"customer": {"email": email, "nric": uuid4().hex}})
    page.goto("/person")
    page.get_by_label("NRIC, e-mail").fill(email)
    page.get_by_label("Reason").first.fill("she asked for it")
    press(page, "Find")
    expect(page.get_by_role("heading", name="What is known of")).to_be_visible()


def _captured(page, receiver):
    """One captured delivery at least; of one sender, a receiver keeps no more than a few."""
    page.goto("/captures")
    if page.get_by_role("link", name="Diagnose").count() == 0:
        press(page, "Capture for 10 minutes")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        receiver.sender_of_another_scheme().deliver(receiver.payload())
        press(page, "Stop")
