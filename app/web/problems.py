"""Answers that are not a success: RFC 9457 problem details, the same for every cause that must not be told apart."""

import json
import time
from uuid import uuid4

import structlog
from flask import Flask, Response, g, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import Forbidden, HTTPException

from app.database import cause_of

RETRY_AFTER_SECONDS = "5"
UNEXPECTED_ERROR = ("Internal Server Error", "Something went wrong; the log has the request ID.")
PROBLEM = "application/problem+json"

log = structlog.get_logger()


def init_app(app: Flask) -> None:
    """Turn every error of every route into a problem document."""
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(SQLAlchemyError, _database_error)
    app.register_error_handler(Exception, _unexpected_error)


def start_request() -> None:
    """Give the request an ID of our own, since a stranger's must not reach the audit log; and start its clock."""
    g.request_id = uuid4().hex
    g.started = time.monotonic()


def request_id() -> str:
    """The present request's ID."""
    return str(g.get("request_id", ""))


def refuse_plain_http() -> None:
    """§3.1. Never a redirect: the body would have crossed the network in the clear already."""
    if not request.is_secure and request.endpoint not in ("health.alive", "health.ready"):
        raise Forbidden("This endpoint is served over HTTPS only.")


def problem_text(status: int, title: str, detail: str) -> str:
    """The text of a problem document. Its fields never quote the request."""
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})


def problem(status: int, title: str, detail: str) -> Response:
    """A problem document as an answer."""
    return Response(problem_text(status, title, detail), status, mimetype=PROBLEM)


def http_error(error: HTTPException) -> Response:
    """The problem document of an HTTP error."""
    response = problem(error.code or 500, error.name, error.description or error.name)
    for name, value in error.get_headers(request.environ):
        if name.lower() in ("allow", "retry-after"):
            response.headers[name] = value
    return response


def _database_error(error: SQLAlchemyError) -> Response:
    log.error("database_unavailable", error=cause_of(error))
    response = problem(503, "Service Unavailable", "The database does not answer. Please try again.")
    response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return response


def _unexpected_error(error: Exception) -> Response:
    log.error("unexpected_error", exc_info=error)
    return problem(500, *UNEXPECTED_ERROR)
