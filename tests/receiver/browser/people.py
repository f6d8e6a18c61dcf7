"""What people do on many pages."""

import re

import pyotp
from playwright.sync_api import Locator, Page, expect

from receiver.testing import PASSWORD
from tests.receiver.browser.world import USERS


def sign_in(page: Page, role: str = "operator", password: str = PASSWORD, name: str | None = None) -> None:
    """From wherever the sign-in form is; a page that was not opened yet begins there."""
    if page.url == "about:blank":
        page.goto("/sign-in")
    page.get_by_label("Name").fill(name or USERS[role])
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def begin_second_factor(page: Page) -> pyotp.TOTP:
    """From the account page to the picture; the app that scanned it."""
    page.get_by_label("Your password").fill(PASSWORD)
    press(page, "Make a secret")
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    return pyotp.TOTP(page.locator("li code").inner_text())


def give_code(page: Page, code: str, button: str) -> None:
    """Type the code and press the button."""
    page.get_by_role("textbox", name="Code").fill(code)
    press(page, button)


def find(page: Page, term: str = "", event_type: str = "") -> None:
    """Search in the list of events."""
    page.get_by_label("Event, transaction, policy or claim ID").fill(term)
    unfold(page, "More filters")
    page.get_by_label("Type").fill(event_type)
    send(page, "Find")


def listed(page: Page) -> list[str]:
    """The names of the events in the list, as they stand there."""
    return [name.strip() for name in page.locator("#list tbody td:nth-child(2) a.id").all_inner_texts()]


def unfold(page: Page, summary: str) -> None:
    """See what is behind a summary, which may be open already."""
    details = page.locator("details", has=page.get_by_text(summary, exact=True))
    if details.get_attribute("open") is None:
        details.locator("summary").click()


def follow(link: Locator) -> None:
    """Follow the link and see the page behind it."""
    with link.page.expect_navigation():
        link.click()


def send(page: Page, name: str) -> None:
    """Press the button that sends a form and see the page behind it, its scripts included."""
    with page.expect_navigation():
        press(page, name)


def press(page: Page, name: str) -> None:
    """Press the button of exactly this name."""
    page.get_by_role("button", name=name, exact=True).click()


def expect_path(page: Page, path: str) -> None:
    """The page is at this path, whatever its query."""
    expect(page).to_have_url(re.compile(rf"//[^/]+{re.escape(path)}(\?|$)"))


def state_of(page: Page) -> Locator:
    """The state of the event that the page shows."""
    return page.locator("main > p .state")
