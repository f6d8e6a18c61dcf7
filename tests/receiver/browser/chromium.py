"""Which Chromium the browser tests drive, and where one comes from.

`$CHROMIUM`, the system's, or Playwright's own. `python -m tests.receiver.browser.chromium` says in one line when there
is none, and the tests are left out then; with `--bring` it brings one. To know another browser, add it to `NAMES`.

The headless shell comes first: it draws the same pages without a desktop browser around them, and the tests take less
than half as long.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.receiver.debian import install

SHELL = "chromium-headless-shell"
NAMES = (SHELL, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]
ABSENT = "No Chromium was found: the browser tests are left out. `make test-browser` brings one and runs them."


@cache
def find_chromium() -> str | None:
    """The path of a Chromium, or None."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    return next(filter(None, map(shutil.which, NAMES)), None) or _playwrights_own()


def bring_chromium() -> None:
    """Debian's headless shell where we may install it, else Playwright's download. `$CHROMIUM` needs neither."""
    if os.environ.get("CHROMIUM"):
        return
    if shutil.which(SHELL) is None:
        install(SHELL, "fonts-dejavu-core")
        find_chromium.cache_clear()
    if find_chromium() is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
        find_chromium.cache_clear()


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """A browser without windows."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        yield browser
        browser.close()


def _playwrights_own() -> str | None:
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


if __name__ == "__main__":
    if "--bring" in sys.argv:
        bring_chromium()
        sys.exit(0 if find_chromium() else "No Chromium could be brought: install one, or name it in CHROMIUM.")
    if find_chromium() is None:
        print(ABSENT)
