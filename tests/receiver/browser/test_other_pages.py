"""The life of a policy, the audit log, captures, and what a viewer does not see."""

import pytest
from playwright.sync_api import expect

from tests.receiver.browser.looks import FOUR, in_every_browser
from tests.receiver.browser.people import expect_path, follow, listed, press
from tests.receiver.browser.world import STORY

TIMES = ("how long ago", "Malaysian time", "UTC")
"""How people read moments: everybody chooses for themselves."""


@in_every_browser
def test_a_policy_tells_its_story_in_the_order_in_which_it_occurred(operator):
    operator.goto("/events?q=TXN-204518&type=policy.issued")

    operator.get_by_role("link", name=STORY).click()

    expect(operator.get_by_role("heading", level=1)).to_have_text(f"Policy {STORY}")
    expect(operator.locator("tbody td:nth-child(3)")).to_have_text(
        ["payment.failed", "payment.success", "policy.issued", "claim.submitted", "claim.updated", "policy.cancelled"]
    )
    expect(operator.locator("tbody tr").first).to_contain_text("late")
    expect(operator.locator(".cards")).to_contain_text("cancelled")


@in_every_browser
def test_a_policy_that_nobody_mentioned_says_so(operator):
    operator.goto("/subjects/policy/POL-that-nobody-has")

    expect(operator.get_by_text("No event names it.")).to_be_visible()


@in_every_browser
def test_the_audit_log_is_filtered_by_event_and_by_what_happened(operator, receiver):
    event_id = receiver.processed()["event_id"]
    operator.goto("/events")
    operator.get_by_role("link", name="Audit log").click()

    operator.get_by_label("Event ID").fill(event_id)
    press(operator, "Find")
    expect(operator.locator("tbody tr")).to_have_count(2)
    operator.get_by_label("What").select_option("attempt")
    press(operator, "Find")

    expect(operator.locator("tbody tr")).to_have_count(1)
    expect(operator.locator("tbody tr")).to_contain_text("processed")
    expect_path(operator, "/audit")


@in_every_browser
def test_the_audit_log_has_more_pages(operator):
    operator.goto("/audit?action=delivery")
    first = operator.locator("main").inner_text()

    while operator.get_by_role("link", name="Older").count():
        follow(operator.get_by_role("link", name="Older"))
        expect(operator.get_by_label("What")).to_have_value("delivery")
        assert operator.locator("main").inner_text() != first


@pytest.mark.parametrize("form", ["CSV", "JSON"])
@pytest.mark.parametrize("path", ["/events", "/audit"])
def test_what_is_shown_can_be_taken_away(operator, path, form):
    operator.goto(path)

    with operator.expect_download() as download:
        operator.get_by_role("link", name=f"Export {form}").click()

    assert download.value.suggested_filename.endswith(form.lower())
    assert "payment.success" in download.value.path().read_text()


@pytest.mark.parametrize("look", [FOUR[0], FOUR[3]], ids=str, indirect=True)
def test_a_captured_delivery_is_diagnosed_down_to_the_settings(operator, receiver):
    operator.goto("/events")
    operator.get_by_role("link", name="Captures").click()

    press(operator, "Capture for 10 minutes")
    expect(operator.get_by_role("status")).to_contain_text("Capturing for 10 minutes")
    assert receiver.sender_of_another_scheme().deliver(receiver.payload()).status == 401
    operator.reload()
    operator.get_by_role("link", name="Diagnose").first.click()

    expect(operator.locator("#settings")).to_contain_text("SENANG_SIGNATURE_SCHEME=github")
    operator.get_by_role("link", name="Captured deliveries").click()
    press(operator, "Stop")
    expect(operator.get_by_role("status")).to_contain_text("Capturing has stopped")


@in_every_browser
def test_a_viewer_sees_everything_and_nothing_that_acts(viewer, receiver):
    dead, processed = receiver.first(state="dead"), receiver.first(state="processed")
    paths = ["/", "/events", f"/events/{dead.id}", f"/events/{processed.id}", f"/subjects/policy/{STORY}", "/audit"]
    paths += ["/alerts"]

    for path in [*paths, f"/support/events/{dead.id}", "/support/time"]:
        viewer.goto(path)

        buttons = {button.inner_text() for button in viewer.get_by_role("button").all()}
        assert buttons <= {"Sign out", "everywhere", "Find", "Show", "Copy the text", *TIMES}, path
        expect(viewer.get_by_role("link", name="Captures")).to_have_count(0)
        expect(viewer.get_by_role("link", name="Export")).to_have_count(0)


@in_every_browser
def test_a_viewer_who_goes_to_an_operators_address_is_refused(viewer):
    for path in ("/captures", "/events/export.csv", "/bulk/1"):
        assert viewer.goto(path).status == 403


@in_every_browser
def test_the_overview_is_one_press_away_from_the_events(operator):
    operator.goto("/events")

    operator.get_by_role("link", name="Senang.io receiver").click()

    expect(operator.get_by_role("heading", level=1)).to_be_visible()
    follow(operator.get_by_role("link", name="Events", exact=True))
    assert listed(operator)
