"""One Chromium and one receiver for all tests; a fresh browser profile, already signed in, for every test.

A test asks for `operator`, `viewer` or `stranger` and gets a page of theirs. The marks in
tests/receiver/browser/looks.py say in which browsers it runs. In every test, whatever a page complains of fails it: an
error or a warning in its console, a violation of the Content-Security-Policy, something that is missing, a request to
somebody else.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from tests.receiver.browser.chromium import find_chromium, running_chromium
from tests.receiver.browser.looks import DESKTOP, Look
from tests.receiver.browser.people import sign_in
from tests.receiver.browser.world import World, world

collect_ignore_glob = [] if find_chromium() else ["test_*.py"]
PATIENCE = 60_000
REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", event => {
  console.error("violates the policy:", event.violatedDirective, event.blockedURI);
});
"""

expect.set_options(timeout=PATIENCE)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests come first and in a row, in their random order: else the browser would start anew between others.

    Of several processes, pytest-xdist lets the first begin with most of them.
    """
    items.sort(key=lambda item: Path(__file__).parent not in item.path.parents)


@pytest.fixture(scope="package")
def chromium(receiver: World, quiet_receiver: World) -> Iterator[Browser]:
    """A browser. While it runs, so does an event loop, under which Flask has no context: hence receivers come first,
    and it ends where other tests begin."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The receiver with its day of events. Tests add to it: none may count on being the only one."""
    with world(tmp_path_factory.mktemp("world")) as found:
        yield found


@pytest.fixture(scope="session")
def quiet_receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A receiver to which nobody ever delivers."""
    with world(tmp_path_factory.mktemp("quiet"), with_a_day=False) as found:
        yield found


@pytest.fixture
def look(request: pytest.FixtureRequest) -> Look:
    """The browser of the test: wide, light, with JavaScript and over TLS unless a mark says otherwise."""
    return getattr(request, "param", DESKTOP)


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the pages of the test complained of."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def visit(chromium: Browser, look: Look, complaints: list[str]) -> Iterator[Callable[..., Page]]:
    """A page in a profile of its own, for a receiver, on the way of the test's look."""
    with ExitStack() as profiles:

        def open_page(world: World, **options: Any) -> Page:
            url = world.address(look.way)
            profile = chromium.new_context(base_url=url, **look.options(), **options)
            profiles.callback(profile.close)
            profile.set_default_timeout(PATIENCE)
            _listen(profile, urlsplit(url).netloc, complaints)
            return profile.new_page()

        yield open_page


@pytest.fixture(scope="package")
def sessions(chromium: Browser, receiver: World) -> dict[str, Any]:
    """The cookies of everybody who signed in: over plain HTTP, so that they serve on every way."""
    found = {}
    for role in ("operator", "viewer"):
        with chromium.new_context(base_url=receiver.url) as profile:
            sign_in(profile.new_page(), role)
            found[role] = profile.storage_state()
    return found


@pytest.fixture
def operator(visit: Callable[..., Page], receiver: World, sessions: dict[str, Any]) -> Page:
    """A page of somebody who may act."""
    return visit(receiver, storage_state=sessions["operator"])


@pytest.fixture
def viewer(visit: Callable[..., Page], receiver: World, sessions: dict[str, Any]) -> Page:
    """A page of somebody who may only look."""
    return visit(receiver, storage_state=sessions["viewer"])


@pytest.fixture
def stranger(visit: Callable[..., Page], receiver: World) -> Page:
    """A page of somebody who has not signed in."""
    return visit(receiver)


def _listen(profile: BrowserContext, host: str, complaints: list[str]) -> None:
    def missing(response: Response) -> None:
        # A refused document is for the test to judge; what a document needs must be there.
        if response.status >= (500 if response.request.resource_type == "document" else 400):
            complaints.append(f"{response.status} for {response.url}")

    def elsewhere(url: str) -> None:
        if urlsplit(url).netloc not in (host, ""):
            complaints.append(f"a request to {url}")

    def said(kind: str, text: str) -> None:
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            complaints.append(text)

    profile.add_init_script(REPORT_VIOLATIONS)
    profile.on("console", lambda message: said(message.type, message.text))
    profile.on("weberror", lambda error: complaints.append(str(error.error)))
    profile.on("response", missing)
    profile.on("request", lambda request: elsewhere(request.url))
