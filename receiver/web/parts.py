"""One bad row costs its own part of a page, never the page: `receiver/store/shown.py`, for templates.

A template puts `{% call part() %}…{% endcall %}` around what is made of one row, or of one stranger's value. When that
can't be made, the part says so, the log has the type of the error, and the rest of the page is as ever.
"""

from collections.abc import Callable

from flask import Flask
from markupsafe import Markup

from receiver.store.shown import WORDS, shown_part

APOLOGY = Markup('<span class="flag">{}</span>').format(WORDS)


def init_app(app: Flask) -> None:
    """Give the templates `part()`, and the words for what had failed before."""
    app.jinja_env.globals |= {"part": part, "apology": APOLOGY}


def part(*, caller: Callable[[], str], columns: int = 0) -> str:
    """What the block of the template says, or that it could not be shown; in a table, across so many columns."""
    shown = shown_part("part of a page", caller)
    if shown is not None:
        return shown
    return Markup('<td colspan="{}">{}</td>').format(columns, APOLOGY) if columns else APOLOGY
