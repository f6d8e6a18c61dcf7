"""Which types are paused, as one worker knows it: it asks the database once a second, not for each batch."""

from datetime import datetime

from sqlalchemy.orm import Session

from receiver.store.pauses import paused_types
from receiver.worker.pace import OnceASecond


class KnownPauses:
    """The paused types of the last second."""

    def __init__(self) -> None:
        self._asking = OnceASecond()
        self._types: frozenset[str] = frozenset()

    def types(self, session: Session, now: datetime) -> frozenset[str]:
        """The types that are paused, `EVERY` among them when all are."""
        if self._asking.is_due(now):
            self._types = paused_types(session)
        return self._types
