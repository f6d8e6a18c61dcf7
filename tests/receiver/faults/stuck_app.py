"""The real receiver with handlers that hang, die or dawdle, for `flask --app tests.receiver.faults.stuck_app`."""

import ctypes
import os
import time

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.protocol.envelope import Event
from receiver.registry import handles
from tests.receiver.partner.models import ProbePayment
from wsgi import app

__all__ = ["app"]

LOCK_BYTES = 64
"""More than a `pthread_mutex_t` takes. Zeros are a lock that nobody holds."""


@handles("test.stuck_in_c")
def stuck_in_c(_event: Event, _session: Session) -> None:
    """C code that waits for a lock that it holds itself: other threads may run, and no signal ends the wait."""
    lock = ctypes.create_string_buffer(LOCK_BYTES)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(lock)


@handles("test.dies")
def dies(event: Event, session: Session) -> None:
    """The process is gone in the middle of a transaction that has written."""
    _pay(event, session)
    os._exit(1)


@handles("test.slow")
def slow(event: Event, session: Session) -> None:
    """Takes its time, and succeeds."""
    time.sleep(3)
    _pay(event, session)


def _pay(event: Event, session: Session) -> None:
    session.execute(
        sa.insert(ProbePayment).values(
            reference=event.id, status="paid", rank=0, occurred_at=event.occurred_at, event_id=event.id
        )
    )
