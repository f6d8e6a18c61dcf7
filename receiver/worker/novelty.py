"""Notes event types and payload fields that are seen for the first time (§5.2, §11.1).

It notes names, not combinations: eleven optional fields make two thousand combinations, but eleven names. A name is
written once. If nothing is new, nothing is written. There are limits for the fields in all, for one event, for one
batch and for one transaction. So no sender can block a worker, or the lock that deliveries wait for on SQLite. What is
beyond a limit is noted with a later event that has it. A type is always noted.

Keys are data too: a key that doesn't look like the name of a field is noted as `[key]`. A type is noted as people see
it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any

import sqlalchemy as sa
import structlog

from receiver.database.causes import cause_of
from receiver.database.engine import reading, writing
from receiver.database.insert import insert_into
from receiver.privacy.grammar import is_identifier_key
from receiver.privacy.remembered import remembered
from receiver.protocol.envelope import Event
from receiver.store.inbox import Inbox
from receiver.store.models import Observation

log = structlog.get_logger()

MOST_DEPTH = 6
MOST_ITEMS = 20
MOST_LOOKED_AT = 1_000
"""Fields and items of one event: those near the top come first."""
MOST_LOOKED_AT_IN_A_BATCH = 5_000
MOST_AT_ONCE = 250
"""Names of fields that are written in one transaction."""
MOST_FIELDS = 5_000
"""Names of fields that are noted in all."""
MOST_TYPES = 10_000
"""Types that a process remembers. When there are more it forgets them all, and notes them again."""
LONGEST_NAME = 400
REST = timedelta(minutes=1)


class Noted:
    """The names of types and fields that a process knows to be noted already."""

    def __init__(self) -> None:
        self._types: set[str] = set()
        self._fields: set[str] = set()
        self._is_loaded = False
        self._rests_until: datetime | None = None  # after a failure

    def note(self, inbox: Inbox, events: Sequence[Event]) -> None:
        """Note what is new in these events. Runs after they were settled, in a transaction of its own.

        Never fails: the events are processed, and what was missed is noted with a later event.
        """
        now = inbox.clock.now()
        if not events or (self._rests_until is not None and now < self._rests_until):
            return
        try:
            if not self._is_loaded:
                self._load(inbox)
            self._note(inbox, events)
        except Exception as error:
            self._rests_until = now + REST
            log.warning("names_not_noted", error=cause_of(error))

    def _load(self, inbox: Inbox) -> None:
        with reading(inbox.engine) as session:
            for kind, names, most in (("type", self._types, MOST_TYPES), ("field", self._fields, MOST_FIELDS)):
                known = sa.select(Observation.name).where(Observation.kind == kind).limit(most)
                names.update(session.scalars(known))
        self._is_loaded = True

    def _note(self, inbox: Inbox, events: Sequence[Event]) -> None:
        types = {inbox.settings.showing(event.type) for event in events} - self._types
        fields = self._new_fields(events)
        if types or fields:
            _write(inbox, types, fields)
        if len(self._types) >= MOST_TYPES:
            self._types.clear()
        self._types |= types
        self._fields |= fields

    def _new_fields(self, events: Iterable[Event]) -> set[str]:
        """At most as many as may still be noted."""
        room = min(MOST_AT_ONCE, MOST_FIELDS - len(self._fields))
        if room <= 0:
            return set()
        paths = chain.from_iterable(_paths(event.payload) for event in events)
        found = set[str]()
        for path in islice(paths, MOST_LOOKED_AT_IN_A_BATCH):
            if path not in self._fields:
                found.add(path)
                if len(found) == room:
                    break
        return found


def _write(inbox: Inbox, types: Iterable[str], fields: Iterable[str]) -> None:
    rows = [{"kind": "field", "name": name} for name in sorted(fields)]
    rows += [{"kind": "type", "name": name} for name in sorted(types)]
    observations = sa.inspect(Observation).local_table
    insert = insert_into(observations, inbox.engine.dialect.name).values(first_seen_at=inbox.now())
    with writing(inbox.engine) as session:
        session.connection().execute(insert.on_conflict_do_nothing(), rows)


def _paths(payload: Any) -> Iterator[str]:
    """Dotted paths, `[]` for any item of a list."""
    waiting, left = deque([("", payload, 0)]), MOST_LOOKED_AT
    while waiting:
        prefix, value, depth = waiting.popleft()
        if isinstance(value, dict):
            found = ((f"{prefix}.{_shown(key)}" if prefix else _shown(key), item) for key, item in value.items())
        else:
            found = ((f"{prefix}[]", item) for item in value[:MOST_ITEMS])
        for path, item in found:
            if not left:
                return
            left -= 1
            if isinstance(value, dict):
                yield path[:LONGEST_NAME]
            if isinstance(item, (dict, list)) and item and depth + 1 < MOST_DEPTH:
                waiting.append((path, item, depth + 1))


@remembered
def _shown(key: str) -> str:
    return key if is_identifier_key(key) else "[key]"
