"""What every page needs: the app's inbox, the numbers in addresses, and the reason that a person gives."""

from typing import cast

from flask import current_app, request
from werkzeug.routing import BaseConverter, ValidationError

from app.inbox.context import Inbox
from app.inbox.filters import row_number


def present_inbox() -> Inbox:
    """The inbox of the app that serves the request."""
    return cast(Inbox, current_app.extensions["inbox"])


class RowNumber(BaseConverter):
    """`<row:…>` in a route: a number that a row can have. Any other is an address at which there is nothing."""

    regex = "[0-9]+"

    def to_python(self, value: str) -> int:
        number = row_number(value)
        if number is None:
            raise ValidationError
        return number


def reason() -> str | None:
    """Why a person does what the form asks for. Signs that nobody can see become spaces."""
    text = "".join(sign if sign.isprintable() else " " for sign in request.form.get("reason", ""))
    return text.strip()[:200] or None
