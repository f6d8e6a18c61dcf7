"""The filter of events: what somebody looks for, as a value that an address can hold. Pure.

To add a criterion, add a field to `Filter`, its line to `from_parameters()` and to `parameters()`, and its meaning for
a row to receiver/queries/search.py.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import ClassVar

from receiver.privacy.columns import Showing
from receiver.privacy.fingerprint import FORM
from receiver.store.lifecycle import State

LONGEST = 200
LARGEST = 2**63 - 1
"""The largest number that a row can have."""
MOST_ATTEMPTS = 1_000_000
Position = tuple[datetime, int]
"""A row's place in the order of pages: received_at and id."""

_CURSOR = re.compile(r"([^~]{10,40})~([0-9]{1,18})")
_ROW = re.compile(r"[1-9][0-9]{0,18}")
_CHOSEN = frozenset({"q", "type", "event_id"})
"""Parameters with the words of senders."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class BadFilter(ValueError):
    """A parameter without a meaning. `name` is the name of the parameter."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not understood")
        self.name = name


class Origin(StrEnum):
    """Where events come from."""

    DELIVERY = "delivery"  # Senang.io sent it
    FOLLOW_UP = "follow-up"  # a handler of ours asked for it


@dataclass(frozen=True)
class Filter:
    """Which events. The default means all of them."""

    PARAMETERS: ClassVar = ("state", "failing", "type", "since", "until", "cause", "attempts", "origin", "q")
    """The names in an address."""

    states: frozenset[State] = frozenset()  # none named: every state
    event_type: str | None = None
    since: datetime | None = None  # received at this moment or later
    until: datetime | None = None  # received before it
    failing: bool = False  # only failing events, which are pending
    cause: str | None = None  # a fingerprint of failures (privacy/fingerprint.py)
    attempts: int | None = None  # so many attempts or more
    origin: Origin | None = None
    term: str | None = None  # an event, transaction, policy or claim ID, its beginning, or # and a row's number

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Sequence[str]]) -> "Filter":
        """The filter in an address, by the names in `PARAMETERS`. `state` may be repeated.

        Raises BadFilter. Moments are ISO 8601, in UTC unless they say otherwise; `until` a bare date includes that day.
        Empty values are as good as none, and parameters that are not the filter's are left alone.
        """
        failing = _flag("failing", parameters)
        states = frozenset(_state(value) for value in parameters.get("state", ()) if value.strip())
        return cls(
            states=frozenset({State.PENDING}) if failing else states,
            failing=failing,
            event_type=_text("type", parameters),
            since=_moment("since", parameters),
            until=_moment("until", parameters, whole_day=True),
            cause=_cause(parameters),
            attempts=_number("attempts", parameters),
            origin=_origin(parameters),
            term=_text("q", parameters),
        )

    def parameters(self) -> dict[str, list[str]]:
        """The other way: what `from_parameters()` makes this filter of."""
        found = {
            "state": [state.value for state in State if state in self.states and not self.failing],
            "failing": ["yes" if self.failing else ""],
            "type": [self.event_type or ""],
            "since": [self.since.isoformat() if self.since else ""],
            "until": [self.until.isoformat() if self.until else ""],
            "cause": [self.cause or ""],
            "attempts": [str(self.attempts or "")],
            "origin": [self.origin or ""],
            "q": [self.term or ""],
        }
        return {name: values for name, values in found.items() if any(values)}

    @property
    def is_sifted(self) -> bool:
        """Whether it asks for something that no index has (receiver/queries/index_pieces.py)."""
        return self.attempts is not None or self.origin is not None

    def bounds(
        self, before: Position | None = None, after: Position | None = None
    ) -> tuple[Position | None, Position | None]:
        """Between which positions, both excluded, its rows lie that are older than `before` or newer than `after`."""
        since = None if self.since is None else (self.since, 0)
        until = None if self.until is None else (self.until, 0)
        low = max(filter(None, (since, after)), default=None)
        high = min(filter(None, (until, before)), default=None)
        return low, high


def in_address(parameters: Mapping[str, Sequence[str]], showing: Showing) -> dict[str, list[str]]:
    """Parameters as an address has them. A term or type that people don't see is sealed."""
    return _changed(parameters, showing.in_address)


def from_address(parameters: Mapping[str, Sequence[str]], showing: Showing) -> dict[str, list[str]]:
    """The other way."""
    return _changed(parameters, showing.from_address)


def described(parameters: Mapping[str, Sequence[str]], showing: Showing) -> str:
    """Parameters in words, as people see them."""
    seen = _changed(parameters, showing)
    return ", ".join(f"{name}={value}" for name, values in seen.items() for value in values) or "everything"


def row_number(text: str) -> int | None:
    """The number of a row as it stands in an address, or None when no row can have it."""
    number = int(text) if _ROW.fullmatch(text) else 0
    return number if 0 < number <= LARGEST else None


def row_named(reference: str) -> int | None:
    """The number in `#12`, as people write it where a row has no event ID. None when it is no such name."""
    return row_number(reference[1:]) if reference.startswith("#") else None


def fits_a_column(text: str) -> bool:
    """Whether any row can hold the text: PostgreSQL refuses a NUL, and what is stored is short and printable."""
    return 0 < len(text) <= LONGEST and text.isprintable()


def moment_in(parameters: Mapping[str, str], name: str) -> datetime | None:
    """The moment of a parameter, in UTC where it names no zone; None when it is not given. Raises BadFilter."""
    text = parameters.get(name, "").strip()
    return _parsed(name, text) if text else None


def text_in(parameters: Mapping[str, str], name: str) -> str | None:
    """The text of a parameter, None when it is not given. Raises BadFilter for what no row can hold."""
    text = parameters.get(name, "").strip()
    if text and not fits_a_column(text):
        raise BadFilter(name)
    return text or None


def choice_in(parameters: Mapping[str, str], name: str, choices: Collection[str]) -> str | None:
    """One of the choices, None when it is not given. Raises BadFilter for any other."""
    text = parameters.get(name, "")
    if text and text not in choices:
        raise BadFilter(name)
    return text or None


def to_cursor(position: Position) -> str:
    """The position as it stands in an address. No sign in it needs another form there."""
    return f"{position[0].astimezone(UTC).isoformat().replace('+00:00', 'Z')}~{position[1]}"


def from_cursor(text: str) -> Position:
    """The other way. Raises BadFilter."""
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise BadFilter("cursor")
    return _parsed("cursor", found[1]), int(found[2])


def _changed(parameters: Mapping[str, Sequence[str]], change: Callable[[str], str]) -> dict[str, list[str]]:
    """The parameters, those with words of senders changed."""
    return {name: [change(value) if name in _CHOSEN else value for value in parameters[name]] for name in parameters}


def _state(value: str) -> State:
    try:
        return State(value.strip())
    except ValueError:
        raise BadFilter("state") from None


def _cause(parameters: Mapping[str, Sequence[str]]) -> str | None:
    text = _text("cause", parameters)
    if text is not None and not FORM.fullmatch(text):
        raise BadFilter("cause")
    return text


def _number(name: str, parameters: Mapping[str, Sequence[str]]) -> int | None:
    text = _text(name, parameters)
    if text is not None and not (
        text.isascii() and text.isdecimal() and len(text) < 10 and 0 < int(text) <= MOST_ATTEMPTS
    ):
        raise BadFilter(name)
    return None if text is None else int(text)


def _origin(parameters: Mapping[str, Sequence[str]]) -> Origin | None:
    text = _text("origin", parameters)
    try:
        return None if text is None else Origin(text)
    except ValueError:
        raise BadFilter("origin") from None


def _flag(name: str, parameters: Mapping[str, Sequence[str]]) -> bool:
    text = _text(name, parameters)
    if text not in (None, "yes"):
        raise BadFilter(name)
    return text is not None


def _text(name: str, parameters: Mapping[str, Sequence[str]]) -> str | None:
    return text_in(_first(name, parameters), name)


def _moment(name: str, parameters: Mapping[str, Sequence[str]], *, whole_day: bool = False) -> datetime | None:
    given = _first(name, parameters)
    moment = moment_in(given, name)
    try:
        return moment + timedelta(days=1) if moment and whole_day and _DATE.fullmatch(given[name].strip()) else moment
    except OverflowError:
        raise BadFilter(name) from None


def _first(name: str, parameters: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {name: next(iter(parameters.get(name, ())), "")}


def _parsed(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadFilter(name) from None
