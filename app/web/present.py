"""What every page needs of the app: its inbox, and the moments in a request's query."""

from datetime import UTC, datetime
from typing import cast

from flask import current_app

from app.inbox.context import Inbox


def present_inbox() -> Inbox:
    """The inbox of the app that serves the request."""
    return cast(Inbox, current_app.extensions["inbox"])


def moment(text: str | None) -> datetime | None:
    """The moment of a form field, in UTC where it names no zone. None when it is empty or no moment."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC) if found else None
