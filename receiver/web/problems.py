"""Answers that are not a success: a page for a reader, RFC 9457 problem details for a machine.

A problem is the same for every cause that must not be told apart. To say more on the page of a status, add a line to
`ADVICE`; to give one case words of its own, raise the HTTP error with a description.
"""

from typing import NamedTuple

import structlog
from flask import Flask, Response, g, render_template, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, default_exceptions

from receiver import transport
from receiver.database.causes import cause_of
from receiver.present import present_inbox, request_id
from receiver.problem import PROBLEM, RETRY_AFTER_SECONDS, UNEXPECTED_ERROR, problem_text
from receiver.queries.filters import BadFilter

MACHINES = ("/webhooks", "/healthz", "/readyz", "/metrics", "/api/")
"""Where the addresses begin that only machines visit."""
ADVICE = {
    400: "The request is not understood. Go back, and try again from the page.",
    401: "Your session has ended. Sign in again.",
    403: "Your role may look, but not do this. Ask an operator.",
    404: "There is nothing at this address. Check the address. What was here may have been erased.",
    405: "This address can't be opened like this. Go back, and use the buttons of the page.",
    410: "What was here can't be read any more.",
    413: "That is more than the receiver takes. Go back, and send less.",
}

log = structlog.get_logger()


def init_app(app: Flask) -> None:
    """Answer every error of every route."""
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(BadFilter, _bad_filter)
    app.register_error_handler(SQLAlchemyError, _database_error)
    app.register_error_handler(Exception, _unexpected_error)


def refuse_plain_http() -> None:
    """Refuse plain HTTP, but not a question whether the process is well. Raises PlainHttp."""
    if request.endpoint not in ("health.alive", "health.ready"):
        transport.refuse_plain_http(request.environ, present_inbox().settings)


def problem(status: int, title: str, detail: str) -> Response:
    """A problem document as an answer."""
    return Response(problem_text(status, title, detail), status, mimetype=PROBLEM)


class Way(NamedTuple):
    """Where the reader of a page can go on: the words of a link, and its address."""

    words: str
    address: str


def failure(status: int, title: str, detail: str, way: Way | None = None) -> Response:
    """A page where somebody reads it, else a problem document."""
    if not _is_read_by_a_person():
        return problem(status, title, detail)
    if status >= 500:
        g.reader_stays_unknown = True  # the database that would know them may be what failed
    try:
        page = render_template("error.html", title=title, detail=detail, way=way, request_id=request_id())
    except Exception as error:
        log.error("error_page_not_shown", error=type(error).__name__)
        return problem(status, title, detail)
    return Response(page, status, mimetype="text/html")


def http_error(error: HTTPException) -> Response:
    """The answer to an HTTP error. Its own words come first; a status has the same advice for every page."""
    code, detail = error.code or 500, error.description or error.name
    if detail == _usual(code) and _is_read_by_a_person():
        detail = ADVICE.get(code, detail)
    response = failure(code, error.name, detail)
    for name, value in error.get_headers(request.environ):
        if name.lower() in ("allow", "retry-after", "www-authenticate"):
            response.headers[name] = value
    return response


def _bad_filter(error: BadFilter) -> Response:
    """A parameter that means nothing is named, and nothing else is shown instead."""
    return failure(400, "That address is not understood", f"Its {error.name} means nothing here.")


def _database_error(error: SQLAlchemyError) -> Response:
    log.error("database_unavailable", error=cause_of(error))
    response = failure(503, "Service Unavailable", "The database does not answer. Please try again.")
    response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return response


def _unexpected_error(error: Exception) -> Response:
    log.error("unexpected_error", exc_info=error)
    return failure(500, *UNEXPECTED_ERROR)


def _usual(code: int) -> str | None:
    """What an HTTP error says that was given no words of its own."""
    return default_exceptions[code].description if code in default_exceptions else None


def _is_read_by_a_person() -> bool:
    """Browsers prefer HTML to everything else. Senders and scripts say nothing, or that they take anything."""
    if request.path.startswith(MACHINES):
        return False
    accepted = request.accept_mimetypes
    return accepted["text/html"] > accepted["application/json"]
