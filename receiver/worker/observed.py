"""What a process knows to be noted already. What is noted is decided in novelty.py."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass
class Observed:
    """Names of types and of fields, as they are noted."""

    types: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    is_loaded: bool = False
    rests_until: datetime | None = None  # after a failure
