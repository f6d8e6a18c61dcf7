"""Draws what happened over time as stacked bars: positions for an SVG, and the same numbers for a table. Pure.

There are two panels below each other, each with a scale of its own. So one failure among ten thousand deliveries is as
easy to see as the deliveries. To draw another result, add its name to a panel of `PANELS` and its colour to page.css.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from receiver.queries.overview import Hour

PANELS = {
    "deliveries that were taken": ("accepted", "duplicate"),
    "what went wrong": ("quarantined", "rejected", "failed", "dead"),
}
SERIES = tuple(name for names in PANELS.values() for name in names)
WIDTH, HEIGHT = 720, 90
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
    """Some hours together: their numbers by result."""

    begins_at: datetime
    numbers: dict[str, int]


@dataclass(frozen=True)
class Panel:
    """The pieces of one panel; `top` is the number at its upper edge."""

    title: str
    names: Sequence[str]
    segments: Sequence[Segment]
    top: int


@dataclass(frozen=True)
class Chart:
    """Bars from left to right, in each panel."""

    bars: Sequence[Bar]
    panels: Sequence[Panel]
    width: int = WIDTH
    height: int = HEIGHT


def chart(hours: Sequence[Hour], hours_a_bar: int) -> Chart:
    """The chart of these hours. Each bar stands for so many of them."""
    groups = [hours[start : start + hours_a_bar] for start in range(0, len(hours), hours_a_bar)]
    bars = [Bar(group[0].at, {name: sum(getattr(hour, name) for hour in group) for name in SERIES}) for group in groups]
    return Chart(bars, [_panel(title, names, bars) for title, names in PANELS.items()])


def round_up(number: int) -> int:
    """The next larger number that is easy to read on an axis: 1, 2 or 5 with zeros."""
    digit = 1
    while True:
        for factor in (1, 2, 5):
            if factor * digit >= number:
                return factor * digit
        digit *= 10


def _panel(title: str, names: Sequence[str], bars: Sequence[Bar]) -> Panel:
    top = round_up(max((sum(bar.numbers[name] for name in names) for bar in bars), default=0))
    step = WIDTH / max(len(bars), 1)
    segments = [
        segment
        for place, bar in enumerate(bars)
        for segment in _stacked(names, bar.numbers, place * step, step - GAP, top)
    ]
    return Panel(title, names, segments, top)


def _stacked(names: Sequence[str], numbers: dict[str, int], x: float, width: float, top: int) -> list[Segment]:
    segments, y = [], float(HEIGHT)
    for name in names:
        if numbers[name]:
            height = max(HEIGHT * numbers[name] / top, 2.0)  # one among thousands must still be visible
            y -= height
            segments.append(Segment(name, round(x, 1), round(y, 1), round(width, 1), round(height, 1)))
    return segments
