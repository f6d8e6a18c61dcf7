"""What gevent changes, in one place: under gevent, a call that blocks would keep all other requests waiting."""

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
    """Run the call so that it blocks nobody; return or raise what it does. It must need no lock of this process."""
    if not is_green():
        return call()
    import gevent  # imported only where it runs already: commands and workers don't need it

    result, error = gevent.get_hub().threadpool.apply(_caught, (call,))
    if error is not None:
        raise error
    return cast(T, result)


def within(seconds: float, call: Callable[[], T]) -> T:
    """Run the call, and return or raise what it does. Under gevent it raises TimeoutError when that takes too long.

    It has to be a call that waits, such as a request: one that computes is not interrupted.
    """
    if not is_green():
        return call()
    import gevent

    with gevent.Timeout(seconds, TimeoutError(f"it took longer than {seconds:g} s")):
        return call()


class Crowded(Exception):
    """Too many calls are waiting already."""


class Lane:
    """Long work, one piece after the other. Few callers may wait; the others are refused.

    One caller gets at most half of the places, so that nobody keeps all others out.
    """

    def __init__(self, *, places: int) -> None:
        self._places = places
        self._taken: Counter[str] = Counter()
        self._lock, self._turn = Lock(), Semaphore()

    def result(self, call: Callable[[], T], *, caller: str) -> T:
        """Run the call beside everything else, and return or raise what it does. Raises Crowded."""
        with self.turn(caller):
            return beside(call)

    @contextmanager
    def turn(self, caller: str) -> Iterator[None]:
        """Wait for a turn, and keep it while the block runs. Raises Crowded at once if no place is left."""
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
    """The result or the error of the call. gevent would print an error that leaves one of its threads."""
    try:
        return call(), None
    except BaseException as error:
        return None, error
