"""A bad row spoils its own part of a page, never the whole page: `receiver/store/shown.py`, for templates.

A template puts `{% call part() %}…{% endcall %}` around what it makes of one row, or of one value from outside. When
that fails, the part says so, the log has the type of the error, and the rest of the page is not affected.
"""

from collections.abc import Callable

from flask import Flask
from markupsafe import Markup

from receiver.store.shown import WORDS, shown_part

APOLOGY = Markup('<span class="flag">{}</span>').format(WORDS)


def init_app(app: Flask) -> None:
    """Give the templates `part()`, and the words for what had already failed."""
    app.jinja_env.globals |= {"part": part, "apology": APOLOGY}


def part(*, caller: Callable[[], str], columns: int = 0) -> str:
    """The block of the template, or a note that it could not be shown. In a table, the note fills so many columns."""
    shown = shown_part("part of a page", caller)
    if shown is not None:
        return shown
    return Markup('<td colspan="{}">{}</td>').format(columns, APOLOGY) if columns else APOLOGY
