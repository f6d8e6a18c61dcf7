"""One bad row costs its own part of a page, a text or an export, never the whole.

Whoever makes such a part of a row, or asks a stranger's code for it, uses `shown_part()` and shows `WORDS` for None.
"""

from collections.abc import Callable
from typing import TypeVar

import structlog

T = TypeVar("T")
WORDS = "could not be shown"
log = structlog.get_logger()


def shown_part(what: str, make: Callable[[], T]) -> T | None:
    """What `make` makes. None when it raises: the log has the type, since a message may quote what is secret."""
    try:
        return make()
    except Exception as error:
        log.error("part_not_shown", part=what, error=type(error).__name__)
        return None
