"""The browsers that people have, and the marks that say in which of them a test runs.

Four are enough for every pair of width, colours and JavaScript. To have another, add it here.
"""

from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Look:
    """One browser: how wide, in which colours, with JavaScript or without."""

    width: int
    colours: str
    javascript: bool

    def __str__(self) -> str:
        device = "desktop" if self.width > 500 else "phone"
        return f"{device}-{self.colours}-{'js' if self.javascript else 'nojs'}"

    def options(self) -> dict[str, Any]:
        """As Playwright wants to hear it."""
        return {
            "viewport": {"width": self.width, "height": 844},
            "color_scheme": self.colours,
            "java_script_enabled": self.javascript,
        }


WIDE, NARROW = 1280, 390
DESKTOP = Look(WIDE, "light", javascript=True)
FOUR = (DESKTOP, Look(NARROW, "dark", True), Look(WIDE, "dark", False), Look(NARROW, "light", False))
PAINTED = tuple(Look(width, colours, True) for width in (WIDE, NARROW) for colours in ("light", "dark"))

in_every_browser = pytest.mark.parametrize("look", FOUR, ids=str, indirect=True)
with_javascript = pytest.mark.parametrize("look", FOUR[:2], ids=str, indirect=True)
without_javascript = pytest.mark.parametrize("look", FOUR[2:], ids=str, indirect=True)
in_all_colours = pytest.mark.parametrize("look", PAINTED, ids=str, indirect=True)
"""For what is painted: every width in every colour. axe is JavaScript itself."""
