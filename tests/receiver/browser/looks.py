"""The browsers that people have, the ways on which they come, and the marks that say in which of them a test runs.

A test runs in one browser in `make test`, and in its opposite, which has nothing in common with it, in `make soak`: so
it has seen every width, colour and way to do without JavaScript. Four browsers are enough for every pair of these, and
all ways are among them: `make test-browser` and `make field` run all. To have another browser, add it here. To have
another way, add a line in world.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import pytest

from tests.receiver.routers import find


@dataclass(frozen=True)
class Look:
    """One browser: how wide, in which colours, with JavaScript or without, and on which way it comes."""

    width: int
    colours: str
    javascript: bool
    way: str = "tls"

    def __str__(self) -> str:
        device = "desktop" if self.width > 500 else "phone"
        return f"{device}-{self.colours}-{'js' if self.javascript else 'nojs'}"

    def options(self) -> dict[str, Any]:
        """As Playwright wants to hear it."""
        return {
            "viewport": {"width": self.width, "height": 844},
            "color_scheme": self.colours,
            "java_script_enabled": self.javascript,
            "ignore_https_errors": True,  # the certificate is our own
        }


WIDE, NARROW = 1280, 390
DESKTOP = Look(WIDE, "light", javascript=True)
BEHIND = "nginx" if find("nginx") else "tls"
WAYS = ("plain", "tls", *(("nginx", "nginx without Host") if find("nginx") else ()))
FOUR = (
    DESKTOP,
    Look(NARROW, "dark", True, BEHIND),
    Look(WIDE, "dark", False, "plain"),
    Look(NARROW, "light", False, BEHIND),
)
OPPOSITE = Look(NARROW, "dark", False, BEHIND)
PAINTED = tuple(Look(width, colours, True) for width in (WIDE, NARROW) for colours in ("light", "dark"))

on_every_way = pytest.mark.parametrize(
    "look", [Look(WIDE, "light", True, way) for way in WAYS], ids=lambda look: look.way, indirect=True
)
with_javascript = pytest.mark.parametrize("look", FOUR[:2], ids=str, indirect=True)
without_javascript = pytest.mark.parametrize("look", FOUR[2:], ids=str, indirect=True)
on_a_phone = pytest.mark.parametrize("look", FOUR[3:], ids=str, indirect=True)
in_all_colours = pytest.mark.parametrize("look", PAINTED, ids=str, indirect=True)
"""For what is painted: every width in every colour. axe is JavaScript itself."""


def in_every_browser(test: Callable[..., None]) -> Any:
    """Run the test in one browser each time, which its name decides, in its opposite in `make soak`, then in all."""
    first, second = (DESKTOP, OPPOSITE) if crc32(test.__name__.encode()) % 2 == 0 else (OPPOSITE, DESKTOP)
    others = (pytest.param(look, marks=pytest.mark.field) for look in FOUR if look is not DESKTOP)
    looks = [first, pytest.param(second, marks=pytest.mark.soak), *others]
    return pytest.mark.parametrize("look", looks, ids=str, indirect=True)(test)
