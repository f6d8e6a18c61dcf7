"""What the running command or request belongs to: the inbox, the request's ID, and when it began."""

import os
import time
from contextlib import suppress
from typing import cast

from flask import current_app, g, request
from sqlalchemy.exc import SQLAlchemyError

from receiver.store.inbox import Inbox


def present_inbox() -> Inbox:
    """The inbox of the app that runs the command or serves the request."""
    return cast(Inbox, current_app.extensions["inbox"])


def inbox_in_force() -> Inbox:
    """The same inbox, after a look at what an operator applied. A database that is away changes nothing."""
    inbox = present_inbox()
    with suppress(SQLAlchemyError):
        inbox.look_for_applied()
    return inbox


def start_request() -> None:
    """Start the request's clock."""
    g.started = time.monotonic()


def request_started() -> float:
    """When the present request began, in seconds of the monotonic clock."""
    return cast(float, g.get("started", time.monotonic()))


def new_request_id() -> str:
    """An ID of our own for a request, since a stranger's must not reach the audit log."""
    return os.urandom(16).hex()


def request_id() -> str:
    """The present request's ID."""
    environ = request.environ
    if "senang.request_id" not in environ:
        environ["senang.request_id"] = new_request_id()
    return str(environ["senang.request_id"])
