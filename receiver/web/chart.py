"""Draws deliveries over time as stacked bars: positions for an SVG, and the same numbers for a table. Pure.

To draw another result, add its name to `SERIES` and its colour to page.css.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from receiver.queries.overview import Hour

SERIES = ("accepted", "duplicate", "quarantined", "rejected")
WIDTH, HEIGHT = 720, 160
GAP = 3


@dataclass(frozen=True)
class Segment:
    """A coloured piece of a bar."""

    name: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Bar:
    """Some hours together: their numbers by result, and the pieces to draw."""

    begins_at: datetime
    numbers: dict[str, int]
    segments: Sequence[Segment]


@dataclass(frozen=True)
class Chart:
    """Bars from left to right; `top` is the number at the upper edge."""

    bars: Sequence[Bar]
    top: int
    width: int = WIDTH
    height: int = HEIGHT


def chart(hours: Sequence[Hour], hours_a_bar: int) -> Chart:
    """The chart of these hours. Each bar stands for so many of them."""
    groups = [hours[start : start + hours_a_bar] for start in range(0, len(hours), hours_a_bar)]
    numbers = [{name: sum(getattr(hour, name) for hour in group) for name in SERIES} for group in groups]
    top = round_up(max((sum(found.values()) for found in numbers), default=0))
    step = WIDTH / max(len(groups), 1)
    bars = [
        Bar(group[0].at, found, _stacked(found, place * step, step - GAP, top))
        for place, (group, found) in enumerate(zip(groups, numbers, strict=True))
    ]
    return Chart(bars, top)


def round_up(number: int) -> int:
    """The next larger number that is easy to read on an axis: 1, 2 or 5 with zeros."""
    digit = 1
    while True:
        for factor in (1, 2, 5):
            if factor * digit >= number:
                return factor * digit
        digit *= 10


def _stacked(numbers: dict[str, int], x: float, width: float, top: int) -> list[Segment]:
    segments, y = [], float(HEIGHT)
    for name in SERIES:
        if numbers[name]:
            height = max(HEIGHT * numbers[name] / top, 1.0)  # one among thousands must still be visible
            y -= height
            segments.append(Segment(name, round(x, 1), round(y, 1), round(width, 1), round(height, 1)))
    return segments
