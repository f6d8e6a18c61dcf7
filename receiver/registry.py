"""Which handler runs an event type, which function a follow-up, and what the partner's tables say. A leaf.

A handler is registered by decorating it; receiver/discovery.py imports the partner's package so that the decorators
run. Exact types win over patterns, and a longer pattern wins over a shorter one; two handlers for one type
or pattern stop the start, because which of them ran would be chance. `@describes("policy")` lets the pages show the
partner's own present state of a policy, transaction or claim beside its events. `@erases` takes a person's data out of
the partner's tables. `@shows_message` lets people see the
words of an error; all others are shown by their type and place (receiver/privacy/errors.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import NamedTuple, TypeVar

from marshmallow import Schema
from sqlalchemy.orm import Session

from receiver.protocol.envelope import Event

Handler = Callable[[Event, Session], None]
Follower = Callable[[Event], None]
Describer = Callable[[Session, str], object]
Eraser = Callable[[Event, Session], None]
H = TypeVar("H", bound=Handler)
F = TypeVar("F", bound=Follower)
D = TypeVar("D", bound=Describer)
R = TypeVar("R", bound=Eraser)


class Handling(NamedTuple):
    """A handler, and how it wants to be run."""

    run: Handler
    data: type[Schema] | None = None
    one_at_a_time_by: str | None = None
    slow: bool = False


_handlers: dict[str, Handling] = {}
_followers: dict[str, Follower] = {}
_describers: dict[str, list[tuple[str, Describer]]] = {}
_erasers: list[Eraser] = []
_ever_registered: list[tuple[str, Callable[[], None]]] = []
"""In which module something was registered, and how to do it again: Python runs a decorator only once."""


SHORTEST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1, 7 * 24 * 3600


class PermanentFailure(Exception):
    """Raise it in a handler when no further attempt can help: the event is dead at once.

    People see its message, masked.
    """


class RetryLater(Exception):
    """Raise it in a handler that can't do its work yet. It runs again in so many seconds; no attempt is charged.

    `seconds` is a number from 1 to 604,800 (7 days); anything else raises ValueError. People see the `reason`, masked,
    beside the event. What the handler wrote is undone. You may raise it as often as the work has to wait. Nothing else
    ends the waiting, so Overview and `events check` name events that have waited for longer than a day.
    """

    def __init__(self, seconds: float, reason: str = "") -> None:
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not is_number or not SHORTEST_RETRY_SECONDS <= seconds <= LONGEST_RETRY_SECONDS:
            raise ValueError(
                f"RetryLater takes a number of seconds from {SHORTEST_RETRY_SECONDS} to {LONGEST_RETRY_SECONDS}"
            )
        super().__init__(reason or "")
        self.seconds = float(seconds)


RETRY_LATER = "retry later"
"""The result of an attempt whose handler raised RetryLater."""


class DuplicateHandler(Exception):
    """Two handlers have the same event type, or two functions the same follow-up."""


E = TypeVar("E", bound=type[BaseException])
_spoken: set[type[BaseException]] = {PermanentFailure, RetryLater}


def shows_message(error: E) -> E:
    """Let people see the messages of this error type, masked, and of the types derived from it.

    Use it for a type whose messages never quote the payload. Of every other error, people see the type and the place.
    Decorate your own type with it, or call it with the type of a library: `shows_message(BankClosed)`.
    """
    _spoken.add(error)
    return error


def spoken_errors() -> tuple[type[BaseException], ...]:
    """The types whose messages people may see."""
    return tuple(_spoken)


TURNS_BY = ("transaction_id", "policy_id", "claim_id")


def handles(
    *patterns: str, data: type[Schema] | None = None, one_at_a_time_by: str | None = None, slow: bool = False
) -> Callable[[H], H]:
    """Make the function the handler of these event types; `*` matches any run of characters.

    `data` is the schema of what `event.data` must hold, a `DataSchema` or another schema of marshmallow. The handler
    gets what the schema has read. An event whose data does not fit is dead at once, with the reason code of each field.

    `one_at_a_time_by` is for handlers that can't be written so that order does not matter. With `policy_id`, no two
    events of one policy run at once, and of those that are here, the one that occurred first runs first. An event that
    has to wait is tried again each second. An earlier event that fails holds the later ones up until it is dead. Each
    of these events has a transaction of its own.

    `slow` is for handlers that take long. With SLOW_PROCESSES they run in processes of their own.
    """
    if one_at_a_time_by is not None and one_at_a_time_by not in TURNS_BY:
        raise ValueError(f"one_at_a_time_by is one of {', '.join(TURNS_BY)}")

    def register(handler: H) -> H:
        for pattern in patterns:
            handling = Handling(handler, data, one_at_a_time_by, slow)
            _register(handler.__module__, partial(_add_handler, pattern, handling))
        return handler

    return register


def _register(module: str, add: Callable[[], None]) -> None:
    add()
    _ever_registered.append((module, add))


def _add_handler(pattern: str, handling: Handling) -> None:
    known = _handlers.setdefault(pattern, handling)
    if known.run is not handling.run:
        raise DuplicateHandler(f"{pattern}: {name_of(known.run)} and {name_of(handling.run)}")


def handler_for(event_type: str) -> Handling | None:
    """The handler of this type, or None when none is registered (§5.2: such an event waits)."""
    if event_type in _handlers:
        return _handlers[event_type]
    matching = [pattern for pattern in _handlers if fnmatchcase(event_type, pattern)]
    return _handlers[max(matching, key=len)] if matching else None


def turn_of(event_type: str) -> str | None:
    """By which reference, such as `policy_id`, events of this type take turns. None when they need none."""
    handling = handler_for(event_type)
    return handling.one_at_a_time_by if handling else None


def follows_up(name: str) -> Callable[[F], F]:
    """Make the function do the follow-ups of this name, which handlers ask for by `follow_up()`.

    It runs after the handler's commit, with attempts of its own, and no transaction is open meanwhile: here is the
    place to send an e-mail or to call another system. Like a handler it may run again, so give the other side
    `event.id` as idempotency key. It may raise `RetryLater` and `PermanentFailure`.
    """

    def register(follower: F) -> F:
        _register(follower.__module__, partial(_add_follower, name, follower))
        return follower

    return register


def _add_follower(name: str, follower: Follower) -> None:
    known = _followers.setdefault(name, follower)
    if known is not follower:
        raise DuplicateHandler(f"{name}: {name_of(known)} and {name_of(follower)}")


def follower_for(name: str) -> Follower | None:
    """The function that does the follow-ups of this name, or None: then they wait."""
    return _followers.get(name)


def registered() -> Iterator[tuple[str, Handling]]:
    """Every pattern with its handler, in alphabetical order."""
    yield from sorted(_handlers.items())


def name_of(handler: Handler | Follower | Eraser) -> str:
    """`module.function`, as a person looks it up."""
    return f"{handler.__module__}.{handler.__qualname__}"


def describes(kind: str, title: str) -> Callable[[D], D]:
    """Make the function say what your table holds about a subject: a `policy`, `transaction` or `claim`.

    It returns a mapping of names to values, or None if there is no row. If the mapping has a `status`, `senang
    scenarios` checks whether events in any order end in the same status.
    """

    def register(describer: D) -> D:
        _register(describer.__module__, partial(_add_describer, kind, title, describer))
        return describer

    return register


def _add_describer(kind: str, title: str, describer: Describer) -> None:
    known = _describers.setdefault(kind, [])
    if title not in [name for name, _ in known]:
        known.append((title, describer))


def describers_of(kind: str) -> list[tuple[str, Describer]]:
    """What can be said of a subject of this kind: each title with its describer, in the order of registration.

    A describer returns a mapping of names to values, or None if there is no row. It is the partner's code, so the
    caller must expect any other value and any error.
    """
    return list(_describers.get(kind, []))


def erases(eraser: R) -> R:
    """Make the function take one person's data out of your tables, when an operator erases what is known of them.

    It is called for each event that names the person, before the receiver erases the payload, in the same transaction.
    It gets the event as a handler gets it. Where retention has erased the payload, `event.data` is empty, and the
    references are there. Like a handler it may be called again for the same event, and never commits. An error stops
    the erasure, and nothing of this transaction is erased.
    """
    _register(eraser.__module__, partial(_add_eraser, eraser))
    return eraser


def _add_eraser(eraser: Eraser) -> None:
    if eraser not in _erasers:
        _erasers.append(eraser)


def erasers() -> list[Eraser]:
    """What takes a person's data out of the partner's tables, in the order of registration."""
    return list(_erasers)


class Registered(NamedTuple):
    """What is registered at one moment."""

    handlers: Mapping[str, Handling]
    followers: Mapping[str, Follower]
    describers: Mapping[str, Sequence[tuple[str, Describer]]]
    erasers: Sequence[Eraser] = ()


def present() -> Registered:
    """What is registered now."""
    describers = {kind: tuple(known) for kind, known in _describers.items()}
    return Registered(dict(_handlers), dict(_followers), describers, tuple(_erasers))


def restore(registered: Registered) -> None:
    """Go back to what was registered at an earlier moment."""
    _handlers.clear()
    _handlers.update(registered.handlers)
    _followers.clear()
    _followers.update(registered.followers)
    _describers.clear()
    _describers.update({kind: list(known) for kind, known in registered.describers.items()})
    _erasers[:] = registered.erasers


def keep_only(package: str) -> None:
    """Forget all but what stands in this package. What was forgotten before, and stands in it, is known again.

    For tests: one process runs those of several packages.
    """
    restore(Registered({}, {}, {}))
    for module, register in _ever_registered:
        if module.startswith(f"{package}."):
            register()
