"""Finding events: tabs, filters, pages, and the list that keeps itself up to date."""

import re
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.receiver.browser.looks import in_every_browser, on_a_phone, with_javascript
from tests.receiver.browser.people import find, follow, listed, send, sign_in, unfold

TICK = 5_000


@pytest.fixture
def prefix():
    """How the IDs of this test's events begin."""
    return f"evt_{uuid4().hex}"


@in_every_browser
def test_a_tab_says_how_many_events_it_has_and_shows_them(operator, receiver):
    operator.goto("/events")
    tabs = operator.get_by_role("navigation", name="State")

    for state, number in receiver.counts().items():
        follow(tabs.get_by_role("link", name=state))

        expect(tabs.locator("[aria-current]")).to_have_text(re.compile(rf"{state}\s+{number}"))
        assert set(operator.locator("#list td .state").all_inner_texts()) == {state}


@in_every_browser
def test_the_filter_stays_in_the_address_from_tab_to_tab(operator):
    operator.goto("/events")

    find(operator, event_type="claim.updated")
    follow(operator.get_by_role("navigation", name="State").get_by_role("link", name="processed"))

    expect(operator).to_have_url(re.compile("state=processed.*type=claim.updated"))
    expect(operator.get_by_label("Type")).to_have_value("claim.updated")
    assert set(operator.locator("#list tbody td:nth-child(3)").all_inner_texts()) == {"claim.updated"}


@in_every_browser
def test_an_exact_id_finds_one_event_and_its_beginning_finds_all(operator, receiver, prefix):
    for end in ("a", "b", "ab"):
        receiver.deliver(event_id=f"{prefix}-{end}")
    operator.goto("/events")

    find(operator, f"{prefix}-b")
    exact = listed(operator)
    find(operator, f"{prefix}-a")

    assert exact == [f"{prefix}-b"]
    assert listed(operator) == [f"{prefix}-ab", f"{prefix}-a"]


@in_every_browser
def test_a_policy_finds_its_events(operator, receiver, prefix):
    receiver.deliver(event_id=prefix, policy_id=f"POL-{prefix}")
    operator.goto("/events")

    find(operator, f"POL-{prefix[:20]}")

    assert listed(operator) == [prefix]


@in_every_browser
def test_pages_lose_and_repeat_no_event_and_lead_back(operator, receiver):
    operator.goto("/events?since=2020-01-01")
    pages = operator.get_by_role("navigation", name="Pages")

    first = found = listed(operator)
    while pages.get_by_role("link", name="Older").count():
        follow(pages.get_by_role("link", name="Older"))
        expect(operator).to_have_url(re.compile("since=2020-01-01.*before=|before=.*since=2020-01-01"))
        found = found + listed(operator)
    while pages.get_by_role("link", name="Newer").count():
        follow(pages.get_by_role("link", name="Newer"))
        back = listed(operator)

    assert found == receiver.names()
    assert back == first


@in_every_browser
def test_a_search_without_success_says_so_and_leads_back(operator):
    operator.goto("/events")

    find(operator, "POL-that-nobody-has")

    expect(operator.get_by_text("No event matches.")).to_be_visible()
    follow(operator.get_by_role("link", name="Show all events"))
    assert listed(operator)


@in_every_browser
def test_an_empty_list_says_how_to_send_the_first_event(visit, quiet_receiver):
    page = visit(quiet_receiver)

    sign_in(page)

    expect(page.get_by_text("No event has come yet.")).to_contain_text("senang trigger payment.success")


@in_every_browser
def test_an_address_that_means_nothing_is_said_to(operator):
    operator.goto("/events?state=lost")

    expect(operator.get_by_role("heading")).to_have_text("That address is not understood")
    expect(operator.get_by_role("main")).to_contain_text("state")


@with_javascript
def test_a_new_event_appears_by_itself_without_a_reload(operator, receiver, prefix):
    operator.clock.install()
    operator.goto(f"/events?q={prefix}")
    operator.evaluate("window.sameDocument = true")

    receiver.deliver(event_id=prefix)
    operator.clock.run_for(TICK)

    expect(operator.get_by_role("link", name=prefix)).to_be_visible()
    assert operator.evaluate("window.sameDocument")


@with_javascript
def test_a_hidden_page_asks_for_nothing(operator):
    operator.clock.install()
    operator.goto("/events")
    asked = []
    operator.on("request", lambda request: asked.append(request.url) if "/events" in request.url else None)

    operator.evaluate("Object.defineProperty(document, 'visibilityState', {value: 'hidden', configurable: true})")
    operator.clock.run_for(10 * TICK)
    while_hidden = len(asked)
    operator.evaluate("Object.defineProperty(document, 'visibilityState', {value: 'visible'})")
    with operator.expect_request("**/events?*"):
        operator.clock.run_for(TICK)

    assert while_hidden == 0


@with_javascript
def test_the_list_refreshes_under_the_readers_hands_without_taking_anything_from_them(operator, receiver, prefix):
    receiver.deliver(event_id=f"{prefix}-1")
    operator.clock.install()
    operator.goto(f"/events?q={prefix}")
    unfold(operator, "Dismiss, or give a reason")
    operator.get_by_label("Reason").fill("the outage of the morn")
    operator.get_by_role("link", name=f"{prefix}-1").focus()

    receiver.deliver(event_id=f"{prefix}-2")
    operator.clock.run_for(TICK)

    expect(operator.get_by_role("link", name=f"{prefix}-2")).to_be_visible()
    expect(operator.get_by_role("link", name=f"{prefix}-1")).to_be_focused()
    expect(operator.get_by_label("Reason")).to_have_value("the outage of the morn")


@on_a_phone
@pytest.mark.parametrize("path", ["/events", "/events?state=dead", "/events?state=quarantined"])
def test_on_a_phone_the_first_event_is_on_the_first_screen(operator, path):
    operator.goto(path)

    first = operator.locator("#list tbody tr").first.bounding_box()
    assert first["y"] + first["height"] <= operator.viewport_size["height"]


@in_every_browser
def test_a_failed_event_says_in_the_list_what_went_wrong_and_where_and_leads_to_its_like(operator, receiver, prefix):
    for number in range(2):
        receiver.dead(event_id=f"{prefix}-{number}")
    operator.goto("/events")
    find(operator, prefix)

    why = operator.locator("#list tr.why")
    expect(why).to_have_count(2)
    expect(why.first).to_contain_text("without the reference that its handler needs")
    expect(why.first).to_contain_text(re.compile(r"handlers/probes\.py:[0-9]+ in policy_issued"))
    follow(why.first.get_by_role("link", name="Same cause"))

    expect(operator.get_by_text("Only failures of one cause.")).to_be_visible()
    assert {f"{prefix}-0", f"{prefix}-1"} <= set(listed(operator))


@in_every_browser
def test_the_filters_for_attempts_and_origin_stay_in_the_form(operator, receiver, prefix):
    receiver.dead(event_id=prefix)
    operator.goto("/events")

    operator.get_by_label("Event, transaction, policy or claim ID").fill(prefix)
    unfold(operator, "More filters")
    operator.get_by_label("Attempts, at least").fill("1")
    operator.get_by_label("Origin").select_option("delivery")
    send(operator, "Find")
    assert listed(operator) == [prefix]
    expect(operator.get_by_label("Attempts, at least")).to_have_value("1")

    operator.get_by_label("Attempts, at least").fill("2")
    send(operator, "Find")
    expect(operator.get_by_text("No event matches")).to_be_visible()
    expect(operator.get_by_label("Origin")).to_have_value("delivery")
