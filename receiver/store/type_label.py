"""An event type as a label of a metric or of a sum. Senders choose types, so there may be any number of odd ones.

A type that looks like one is its own label; every other is `OTHER`. Whoever keeps labels bounds how many there are.
"""

import re

from receiver.privacy.columns import is_shown

OTHER = "other"
LONGEST_LABEL = 61
_USUAL_TYPE = re.compile(rf"[a-z][a-z0-9_.-]{{0,{LONGEST_LABEL - 1}}}")


def type_label(event_type: str | None) -> str:
    """The type, or `OTHER`."""
    is_usual = event_type and _USUAL_TYPE.fullmatch(event_type) and is_shown(event_type)
    return event_type if event_type and is_usual else OTHER
