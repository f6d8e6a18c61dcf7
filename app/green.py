"""What gevent changes, in one place: under it, a call that blocks would keep every other request waiting."""

import sys
from collections.abc import Callable
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


def _caught(call: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """gevent prints whatever leaves one of its threads as an error of its own."""
    try:
        return call(), None
    except BaseException as error:
        return None, error
