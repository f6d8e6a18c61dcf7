"""The receiver with handlers for rehearsals, slow and failing ones too, beside the partner's own.

Only the worker of the throwaway copy of `senang scenarios` runs from here: `flask --app receiver.sandbox.rehearsal`.
"""

import time

from sqlalchemy.orm import Session

from receiver.protocol.envelope import Event
from receiver.registry import PermanentFailure, handles
from wsgi import app as app

_failed: set[str] = set()


@handles("sandbox.ordinary")
def ordinary(_event: Event, _session: Session) -> None:
    """Nothing to do: what is rehearsed is how the event gets here, and how often."""


@handles("sandbox.slow")
def slow(event: Event, _session: Session) -> None:
    """Take as long as the event says."""
    time.sleep(float(event.data["seconds"]))


@handles("sandbox.failing")
def failing(event: Event, _session: Session) -> None:
    """Fail for good the first time. When the event is replayed, the cause is mended."""
    if event.id not in _failed:
        _failed.add(event.id)
        raise PermanentFailure("it fails on purpose")
