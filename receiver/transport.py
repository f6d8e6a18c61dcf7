"""What holds for every request and every answer, whichever way it takes: HTTPS, and the headers of all answers."""

from typing import Any

from werkzeug.exceptions import Forbidden

from receiver.config import Settings


class PlainHttp(Forbidden):
    """The request came over plain HTTP, and HTTPS is required."""

    reason = "plain_http"
    description = "This endpoint is served over HTTPS only."


def refuse_plain_http(environ: dict[str, Any], settings: Settings) -> None:
    """§3.1. Never a redirect: the body would have crossed the network in the clear already. Raises PlainHttp."""
    if settings.require_https and environ["wsgi.url_scheme"] != "https":
        raise PlainHttp


def common_headers(settings: Settings) -> list[tuple[str, str]]:
    """The headers that every answer has."""
    headers = [("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")]
    if settings.require_https:  # one request over HTTPS does not prove that the next one can have it too
        headers.append(("Strict-Transport-Security", "max-age=31536000"))
    return headers
