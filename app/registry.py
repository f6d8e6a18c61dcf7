"""Which handler an event type belongs to. A leaf that handlers and the worker both know.

A handler is registered by decorating it; `discover()` imports the partner's folder so that the decorators
run. Exact types win over patterns, and a longer pattern wins over a shorter one; two handlers for one type
or pattern stop the start, because which of them ran would be chance.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import TypeVar

from sqlalchemy.orm import Session

from app.protocol.envelope import Event

Handler = Callable[[Event, Session], None]
H = TypeVar("H", bound=Handler)

_handlers: dict[str, Handler] = {}


class PermanentFailure(Exception):
    """Raised by a handler for an event that no further attempt can save: it becomes dead at once."""


class DuplicateHandler(Exception):
    """Two handlers claim the same event type."""


def handles(*patterns: str) -> Callable[[H], H]:
    """Make the function the handler of these event types; `*` matches any run of characters."""

    def register(handler: H) -> H:
        for pattern in patterns:
            known = _handlers.setdefault(pattern, handler)
            if known is not handler:
                raise DuplicateHandler(f"{pattern}: {describe(known)} and {describe(handler)}")
        return handler

    return register


def handler_for(event_type: str) -> Handler | None:
    """The handler of this type, or None when none is registered (§5.2: such an event waits)."""
    if event_type in _handlers:
        return _handlers[event_type]
    matching = [pattern for pattern in _handlers if fnmatchcase(event_type, pattern)]
    return _handlers[max(matching, key=len)] if matching else None


def registered() -> Iterator[tuple[str, Handler]]:
    """Every pattern with its handler, in alphabetical order."""
    yield from sorted(_handlers.items())


def describe(handler: Handler) -> str:
    """`module.function`, as a person looks it up."""
    return f"{handler.__module__}.{handler.__qualname__}"


def discover(package: str = "app.handlers") -> None:
    """Import every module of the package, so that its decorators run."""
    found = importlib.import_module(package)
    for module in pkgutil.iter_modules(found.__path__, f"{package}."):
        importlib.import_module(module.name)
