"""`python -m tests.receiver.browser.screenshots`: the pictures in README.md and docs/, in light and in dark."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page

from tests.receiver.browser.chromium import running_chromium
from tests.receiver.browser.people import follow, sign_in
from tests.receiver.browser.world import STORY, world

FOLDER = Path(__file__).parents[3] / "docs" / "images"
WIDTH = 1280


def take_screenshots() -> None:
    """Every page in both colours."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder, world(Path(folder), busy=12) as receiver, running_chromium() as browser:
        for colours in ("light", "dark"):
            with browser.new_context(base_url=receiver.url, color_scheme=colours) as profile:
                page = profile.new_page()
                sign_in(page)
                for name, (show, height) in PAGES.items():
                    page.set_viewport_size({"width": WIDTH, "height": height})
                    show(page)
                    page.screenshot(path=FOLDER / f"{name}-{colours}.png")


def _at(path: str) -> Callable[[Page], object]:
    return lambda page: page.goto(path)


def _event(page: Page) -> None:
    page.goto("/events?state=dead")
    follow(page.locator("#list tbody a.id").first)


PAGES = {
    "overview": (_at("/"), 1490),
    "events": (_at("/events"), 800),
    "event": (_event, 1080),
    "policy": (_at(f"/subjects/policy/{STORY}"), 740),
}
"""How to get to each page, and how much of it is shown. To have another picture, add a line."""

if __name__ == "__main__":
    take_screenshots()
