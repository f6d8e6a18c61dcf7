"""What gevent changes, in one place: under it, a call that blocks would keep every other request waiting."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Semaphore
from typing import TypeVar, cast

T = TypeVar("T")


def is_green() -> bool:
    """Whether this process runs on gevent: then its threads are greenlets."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def beside(call: Callable[[], T]) -> T:
    """What the call returns or raises. It may block, but must not need a lock of this process."""
    if not is_green():
        return call()
    import gevent  # only where it runs already: neither the commands nor the workers need it

    result, error = gevent.get_hub().threadpool.apply(_caught, (call,))
    if error is not None:
        raise error
    return cast(T, result)


class Crowded(Exception):
    """Too many calls wait already."""


class Lane:
    """Work that takes long, one piece after the other. Few may wait, the rest are turned away.

    One caller gets no more than half of the places, so that nobody keeps all others out.
    """

    def __init__(self, *, places: int) -> None:
        self._places = places
        self._taken: Counter[str] = Counter()
        self._lock, self._turn = Lock(), Semaphore()

    def result(self, call: Callable[[], T], *, caller: str) -> T:
        """What the call returns or raises; it runs beside everything else. Raises Crowded."""
        with self.turn(caller):
            return beside(call)

    @contextmanager
    def turn(self, caller: str) -> Iterator[None]:
        """Wait for a turn, and have it for the block. Raises Crowded, at once, where no place is left."""
        with self._lock:
            if self._taken.total() >= self._places or self._taken[caller] >= self._places // 2:
                raise Crowded
            self._taken[caller] += 1
        try:
            with self._turn:
                yield
        finally:
            with self._lock:
                self._taken -= Counter({caller: 1})


def _caught(call: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """gevent prints whatever leaves one of its threads as an error of its own."""
    try:
        return call(), None
    except BaseException as error:
        return None, error
