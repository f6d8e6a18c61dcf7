"""How fast deliveries go out: by a schedule, so that a slow answer delays only the next delivery."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def on_schedule(
    items: Iterable[T],
    per_second: float | None,
    *,
    now: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[T]:
    """The items, each at its time. Without a rate, or after a delay, they come as fast as they are taken."""
    started = now()
    for number, item in enumerate(items):
        if per_second and (early := started + number / per_second - now()) > 0:
            wait(early)
        yield item
