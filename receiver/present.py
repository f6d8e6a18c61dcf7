"""The receiver that the running command or request belongs to."""

from typing import cast

from flask import current_app

from receiver.store.inbox import Inbox


def present_inbox() -> Inbox:
    """The inbox of the app that runs the command or serves the request."""
    return cast(Inbox, current_app.extensions["inbox"])
