"""One event: its payload as a tree, what happened to it, its neighbours, and running it again."""

import re
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.receiver.browser.looks import in_every_browser, with_javascript
from tests.receiver.browser.people import expect_path, find, press, state_of


@pytest.fixture
def show(operator, receiver):
    """The page of an event."""

    def open_page(payload):
        operator.goto(f"/events/{receiver.stored(payload['event_id']).id}")
        return operator

    return open_page


@in_every_browser
def test_the_payload_is_a_masked_tree_that_folds(show, receiver):
    page = show(receiver.processed(data={"customer": {"name": "Siti Nurhaliza"}, "lines": [{"sku": "A"}]}))
    tree = page.locator(".tree")

    expect(tree).to_contain_text("[text 14]")
    expect(tree).not_to_contain_text("Siti")
    tree.get_by_text("customer", exact=True).click()
    expect(tree.get_by_text("[text 14]")).to_be_hidden()
    tree.get_by_text("customer", exact=True).click()
    expect(tree.get_by_text("[text 14]")).to_be_visible()


def test_on_a_wide_screen_the_error_comes_first_and_the_payload_stands_beside_what_happened(show, receiver):
    page = show(receiver.dead())

    wrong, happened, payload = (page.locator(what).bounding_box() for what in (".wrong", "ol.timeline", ".tree"))
    expect(page.locator(".wrong")).to_contain_text(re.compile(r"handlers/probes\.py:[0-9]+ in policy_issued"))
    expect(page.locator("dl.facts")).to_contain_text("probes.policy_issued")
    assert wrong["y"] + wrong["height"] <= payload["y"]
    assert happened["x"] + happened["width"] <= payload["x"]
    assert payload["y"] < happened["y"] + happened["height"]


@in_every_browser
def test_what_happened_is_told_in_order(show, receiver):
    page = show(receiver.processed())

    expect(page.locator(".timeline li")).to_have_text(
        [re.compile("delivery: accepted"), re.compile("attempt: processed")]
    )


@in_every_browser
def test_the_neighbours_are_those_of_the_list_that_one_came_from(operator, receiver):
    policy = f"POL-{uuid4().hex}"
    names = [receiver.shown(receiver.deliver(policy_id=policy)["event_id"]) for _ in range(3)]
    receiver.deliver()

    operator.goto("/events")
    find(operator, policy)
    operator.get_by_role("link", name=names[1]).click()
    heading = operator.get_by_role("heading", level=1)
    operator.get_by_role("link", name="Newer").click()
    expect(heading).to_have_text(names[2])
    expect(operator.get_by_role("link", name="Newer")).to_have_count(0)
    for name in names[1::-1]:
        operator.get_by_role("link", name="Older").click()
        expect(heading).to_have_text(name)
    expect(operator.get_by_role("link", name="Older")).to_have_count(0)

    operator.get_by_role("link", name="All events").click()
    expect(operator.get_by_label("Event, transaction, policy or claim ID")).to_have_value(policy)


@in_every_browser
def test_a_dead_event_is_replayed_at_once(show, receiver):
    sent = receiver.dead()
    page = show(sent)
    expect(state_of(page)).to_have_text("dead")

    press(page, "Replay")

    expect(page.get_by_role("status")).to_have_text("due again")
    expect(state_of(page)).to_have_text("pending")
    assert receiver.audited("replay", sent["event_id"]) == ["due again"]


@in_every_browser
def test_a_processed_event_is_replayed_only_with_a_reason(show, receiver):
    sent = receiver.processed()
    page = show(sent)

    press(page, "Replay…")
    expect(page.get_by_role("heading")).to_have_text("Replay an event that was processed?")
    press(page, "Replay it")
    assert receiver.audited("replay", sent["event_id"]) == []
    page.get_by_label("Reason").fill("Senang.io asked for it")
    press(page, "Replay it")

    expect(state_of(page)).to_have_text("pending")
    expect(page.locator(".timeline")).to_contain_text("Senang.io asked for it")
    assert receiver.audited("replay", sent["event_id"]) == ["due again"]


@in_every_browser
def test_who_thinks_better_of_it_replays_nothing(show, receiver):
    sent = receiver.processed()
    page = show(sent)

    press(page, "Replay…")
    page.get_by_role("link", name="Cancel").click()

    expect(state_of(page)).to_have_text("processed")
    assert receiver.audited("replay", sent["event_id"]) == []


@in_every_browser
def test_a_double_click_makes_one_replay(show, receiver):
    sent = receiver.dead()
    page = show(sent)

    page.get_by_role("button", name="Replay").dblclick()

    expect(state_of(page)).to_have_text("pending")
    assert receiver.audited("replay", sent["event_id"]) == ["due again"]


@in_every_browser
def test_two_operators_who_saw_the_same_make_one_replay(show, operator, receiver):
    sent = receiver.dead()
    page, other = show(sent), operator.context.new_page()
    other.goto(page.url)

    press(page, "Replay")
    expect(page.get_by_role("status")).to_have_text("due again")
    receiver.work()
    press(other, "Replay")

    expect(other.get_by_role("status")).to_have_text("replayed already")
    assert receiver.audited("replay", sent["event_id"]) == ["due again"]


@in_every_browser
def test_a_quarantined_body_says_what_to_mend_and_why_it_cannot_be_replayed_yet(operator, receiver):
    operator.goto(f"/events/{receiver.first(state='quarantined', quarantine_reason='unusable').id}")

    expect(operator.get_by_text("Correct SENANG_PAYLOAD_FIELDS")).to_be_visible()
    press(operator, "Replay")

    expect(operator.get_by_role("status")).to_contain_text("it does not parse")


@in_every_browser
def test_hostile_text_stays_text(operator, receiver):
    hostile = f"<img/src=x/onerror=alert(1)>{uuid4().hex}"
    receiver.deliver(hostile, event_id=hostile, status=hostile, data={hostile: hostile})

    operator.goto("/events")
    operator.get_by_role("link", name=receiver.shown(hostile)).click()
    press(operator, "Reveal event id")

    expect(operator.get_by_role("heading", level=1)).to_have_text(hostile)
    expect(operator.locator("main img")).to_have_count(0)


@with_javascript
def test_a_form_that_is_on_its_way_cannot_be_sent_again(show, receiver):
    page = show(receiver.dead())
    page.evaluate("document.addEventListener('submit', event => event.preventDefault())")  # it is long on its way

    press(page, "Replay")

    expect(page.get_by_role("button", name="Replay")).to_be_disabled()


@in_every_browser
def test_a_support_request_is_read_before_a_person_sends_it(show, receiver):
    sent = receiver.dead(data={"customer": "Siti Nurhaliza"})
    page = show(sent)

    page.get_by_role("link", name="Support request").click()

    text = page.locator("#request")
    expect(text).to_contain_text(f"Event ID: {sent['event_id']}")
    expect(text).to_contain_text("P-1042")
    expect(text).not_to_contain_text("Nurhaliza")
    address = page.get_by_role("link", name="Write to").get_attribute("href")
    assert address.startswith("mailto:customercare@senang.io?")
    assert sent["event_id"] in address
    assert receiver.audited("support", sent["event_id"]) == ["request shown"]


@with_javascript
def test_the_support_request_is_copied_with_one_press(show, receiver):
    page = show(receiver.dead())
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("link", name="Support request").click()

    press(page, "Copy the text")

    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#request").inner_text()


@in_every_browser
def test_the_support_request_for_a_time_counts_what_was_refused(operator):
    operator.goto("/support/time")

    operator.get_by_label("From (UTC)").fill("2020-01-01T00:00")
    press(operator, "Show")

    expect_path(operator, "/support/time")
    expect(operator.locator("#request")).to_contain_text("rejected: ")
