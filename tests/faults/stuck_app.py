"""The real receiver with handlers that hang, die or dawdle, for `flask --app tests.faults.stuck_app worker`."""

import hashlib
import os
import time

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.handlers.models import Payment
from app.protocol.envelope import Event
from app.registry import handles
from wsgi import app

__all__ = ["app"]

LONG = 2**31 - 1
"""As many iterations as pbkdf2_hmac takes: an hour's work, most of it in one call of C code."""


@handles("test.stuck_in_c")
def stuck_in_c(_event: Event, _session: Session) -> None:
    """C code that lets other threads run, but looks at no signal until it returns."""
    hashlib.pbkdf2_hmac("sha512", b"password", b"salt", LONG)


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
        sa.insert(Payment).values(
            reference=event.id, status="paid", rank=0, occurred_at=event.occurred_at, event_id=event.id
        )
    )
