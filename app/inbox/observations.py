"""Notes event types and payload fields that are seen for the first time (§5.2, §11.1)."""

from collections.abc import Hashable, Iterator
from typing import Any

import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from app.database import cause_of, writing
from app.inbox.context import Inbox
from app.inbox.models import Observation
from app.privacy.masking import mask_text
from app.protocol.envelope import Event

log = structlog.get_logger()

MOST_DEPTH = 6
MOST_ITEMS = 20
MOST_SHAPES = 2_000


def observe(inbox: Inbox, event: Event) -> None:
    """Note what of this event's shape is new. Runs after the event was settled, in its own transaction.

    Never fails: the event is processed, and a note that was missed is taken with the next event of that shape.
    """
    shape = (event.type, _skeleton(event.payload))
    if shape in inbox.observed or len(inbox.observed) > MOST_SHAPES:
        return
    dialect = postgresql if inbox.engine.dialect.name == "postgresql" else sqlite
    names = {("type", event.type), *(("field", path) for path in _paths(event.payload))}
    rows = [{"kind": kind, "name": name, "first_seen_at": inbox.now()} for kind, name in sorted(names)]
    try:
        with writing(inbox.engine) as session:
            for row in rows:
                session.execute(dialect.insert(Observation).values(row).on_conflict_do_nothing())
    except SQLAlchemyError as error:
        log.warning("shape_not_noted", event_id=event.id, error=cause_of(error))
        return
    inbox.observed.add(shape)


def _skeleton(value: Any, depth: int = 0) -> Hashable:
    """The keys alone: most events of a type have the same."""
    if isinstance(value, dict) and depth < MOST_DEPTH:
        return tuple([(key, _skeleton(item, depth + 1)) if item else key for key, item in value.items()])
    if isinstance(value, list):
        return tuple([_skeleton(item, depth + 1) for item in value[:MOST_ITEMS]])
    return None


def _paths(value: Any, prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Dotted paths, `[]` for any item of a list. Keys are masked: they may hold what should not be kept."""
    if isinstance(value, dict) and depth < MOST_DEPTH:
        for key, item in value.items():
            path = f"{prefix}.{mask_text(key)}" if prefix else mask_text(key)
            yield path[:400]
            yield from _paths(item, path, depth + 1)
    elif isinstance(value, list):
        for item in value[:MOST_ITEMS]:
            yield from _paths(item, f"{prefix}[]", depth + 1)
