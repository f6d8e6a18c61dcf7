"""What people see of a stored row: every page, export, command, log line and mail takes its columns from here.

A column with a sender's own text passes `Showing` (receiver/privacy/columns.py). A column with free words is masked
once more, because a row may be older than the present rules. `CHOSEN` and `WORDED` name these columns. To add a column,
name it there, or in `tests/receiver/security/test_columns.py` if we fill it ourselves.

A bad row spoils its own part of a page, a text or an export, never the whole. Code that makes such a part of a row, or
calls a partner's code for it, uses `shown_part()` and shows `WORDS` for None.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from receiver.privacy.columns import Showing
from receiver.privacy.masking import mask_text
from receiver.registry import follower_for, handler_for, name_of
from receiver.store.models import AuditEntry, StoredEvent

T = TypeVar("T")
WORDS = "could not be shown"
CHOSEN = (
    "event_id", "stated_event_id", "event_type", "transaction_id", "policy_id", "claim_id", "reported_status",
)  # fmt: skip
WORDED = ("last_error", "detail")
log = structlog.get_logger()


class Shown:
    """A row, or what a list has of one, as people see it: it has the same attributes."""

    def __init__(self, row: Any, showing: Showing) -> None:
        self._row, self._showing = row, showing

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._row, name)
        if value is None:
            return None
        if name in CHOSEN:
            return self._showing(value)
        return mask_text(value) if name in WORDED else value

    @property
    def name(self) -> str:
        """What people call it: its event ID, or its number where it has none."""
        return self.event_id or getattr(self, "stated_event_id", None) or f"#{self.id}"

    @property
    def handler(self) -> str | None:
        """The function that runs an event of its type now, as `module.function`. None when there is none."""
        event_type = self._row.event_type or ""
        if self._row.caused_by is not None:
            follower = follower_for(event_type)
            return name_of(follower) if follower else None
        handling = handler_for(event_type)
        return name_of(handling.run) if handling else None

    @property
    def command_name(self) -> str:
        """As a command takes it: its number where it has no event ID, and in front where people see a short form."""
        chosen = self._row.event_id
        if not chosen:
            return f"#{self.id}"
        return f"#{self.id} {self.name}" if self._showing.hides(chosen) else str(self.name)

    @property
    def hidden(self) -> list[str]:
        """The columns of which people see a short form."""
        values = ((name, getattr(self._row, name, None)) for name in CHOSEN)
        return [name for name, value in values if value and self._showing.hides(value)]

    def in_address(self, name: str) -> str:
        """The column as it stands in an address."""
        return self._showing.in_address(getattr(self._row, name))

    def clear(self, name: str) -> str | None:
        """The column in clear text, for an operator who asked for it. The caller must audit it."""
        value: str | None = getattr(self._row, name) if name in CHOSEN else None
        return value


def shown(row: StoredEvent | AuditEntry | Any, showing: Showing) -> Shown:
    """The row as people see it."""
    return Shown(row, showing)


def shown_part(what: str, make: Callable[[], T]) -> T | None:
    """What `make` returns. None when it raises: the log has only the type, because a message may quote secrets."""
    try:
        return make()
    except Exception as error:
        log.error("part_not_shown", part=what, error=type(error).__name__)
        return None
