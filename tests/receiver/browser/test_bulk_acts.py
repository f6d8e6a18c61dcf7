"""Replaying everything that a filter finds: plan, confirm, progress, done; or not."""

from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.receiver.browser.looks import in_every_browser, with_javascript, without_javascript
from tests.receiver.browser.people import find, press, send, unfold


@pytest.fixture
def plan(operator, receiver):
    """The page of a plan for three events of a policy, two of them processed and one pending."""
    policy = f"POL-{uuid4().hex}"
    for _ in range(2):
        receiver.processed(policy_id=policy)
    receiver.deliver(policy_id=policy)
    operator.goto("/events")
    find(operator, policy)
    unfold(operator, "Dismiss, or give a reason")
    operator.get_by_label("Reason (to dismiss, needed)").fill("after the outage")
    send(operator, "Replay all that match…")
    return operator


def replays_since(receiver, before):
    return len(receiver.audited("replay")) - before


@in_every_browser
def test_a_plan_says_what_would_happen_before_it_does(plan, receiver):
    before = len(receiver.audited("replay"))

    expect(plan.get_by_text("2 events would be replayed.")).to_be_visible()
    expect(plan.get_by_text("after the outage")).to_be_visible()
    expect(plan.get_by_role("listitem")).to_have_count(2)
    receiver.work()
    assert replays_since(receiver, before) == 0


@without_javascript
def test_a_confirmed_plan_is_worked_off_and_the_page_says_so_when_one_looks_again(plan, receiver):
    before = len(receiver.audited("replay"))

    send(plan, "Replay them")
    expect(plan.get_by_role("status")).to_contain_text("Running")
    receiver.work()
    plan.get_by_role("link", name="Look again").click()

    expect(plan.get_by_role("status")).to_contain_text("Done: 2 replayed, 1 skipped")
    assert replays_since(receiver, before) == 2


@with_javascript
def test_the_progress_is_shown_without_a_reload(plan, receiver):
    plan.clock.install()

    send(plan, "Replay them")
    expect(plan.get_by_role("status")).to_contain_text("Running")
    plan.evaluate("window.sameDocument = true")
    receiver.work()
    plan.clock.run_for(5_000)

    expect(plan.get_by_role("status")).to_contain_text("Done: 2 replayed, 1 skipped")
    assert plan.evaluate("window.sameDocument")


@in_every_browser
def test_a_double_click_starts_it_once(plan, receiver):
    before = len(receiver.audited("replay")), receiver.audited("bulk replay").count("running")

    plan.get_by_role("button", name="Replay them").dblclick()
    expect(plan.get_by_role("status")).to_contain_text("Running")
    receiver.work()

    assert receiver.audited("bulk replay").count("running") - before[1] == 1
    assert replays_since(receiver, before[0]) == 2


@in_every_browser
def test_who_does_not_confirm_replays_nothing(plan, receiver):
    before = len(receiver.audited("replay"))

    press(plan, "Cancel")

    expect(plan.get_by_role("status")).to_contain_text("Cancelled: 0 replayed")
    receiver.work()
    assert replays_since(receiver, before) == 0


@in_every_browser
def test_one_that_runs_can_be_stopped(plan, receiver):
    before = len(receiver.audited("replay"))

    send(plan, "Replay them")
    press(plan, "Stop")

    expect(plan.get_by_role("status")).to_contain_text("Cancelled: 0 replayed")
    receiver.work()
    assert replays_since(receiver, before) == 0


@with_javascript
def test_the_focus_stays_on_the_stop_button_while_the_progress_moves(plan):
    plan.clock.install()
    send(plan, "Replay them")
    plan.get_by_role("button", name="Stop").focus()

    with plan.expect_response("**/bulk/*"):
        plan.clock.run_for(5_000)
    plan.clock.run_for(1_000)

    expect(plan.get_by_role("button", name="Stop")).to_be_focused()
    press(plan, "Stop")
