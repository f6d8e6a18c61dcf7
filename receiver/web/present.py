"""What every page needs: the inbox of the app, the numbers in addresses, and the reason that a person gives."""

from flask import request
from werkzeug.routing import BaseConverter, ValidationError

from receiver.queries.filters import row_number


class RowNumber(BaseConverter):
    """`<row:…>` in a route: a number that a row can have. Any other number is a 404."""

    regex = "[0-9]+"

    def to_python(self, value: str) -> int:
        number = row_number(value)
        if number is None:
            raise ValidationError
        return number


REASON_NEEDED = "Nothing was done: say why. The audit log keeps the reason."


def reason() -> str | None:
    """Why a person does what the form asks for. Invisible characters become spaces."""
    text = "".join(sign if sign.isprintable() else " " for sign in request.form.get("reason", ""))
    return text.strip()[:200] or None
