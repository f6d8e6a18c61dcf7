"""How much of a request is looked at where nobody knows who sent it. Deliveries have bounds of their own: route.py.

A header field that is too long is removed before anything reads it, and the request is refused. A form has no files: a
multipart form is refused unread, so none of it is ever written to the disk. A route that needs a larger form sets
`request.max_content_length`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Request, request
from werkzeug.exceptions import RequestHeaderFieldsTooLarge, UnsupportedMediaType
from werkzeug.formparser import FormDataParser

from receiver.config import WEBHOOK_PATH

MOST_FIELD_BYTES = 8 * 1024
"""Of one header field: as most routers have it."""
MOST_MEDIA_TYPE_BYTES = 1024
"""Of a field that names types of media. There is a lot to look at in a long one."""
MOST_FORM_BYTES = 16 * 1024
_MEDIA_TYPES = ("CONTENT_TYPE", "HTTP_ACCEPT")
_TOO_LONG = "senang.field_too_long"


class _NoFiles(FormDataParser):
    def parse(self, stream: Any, mimetype: str, *about: Any, **more: Any) -> Any:
        """The fields of a form. Raises UnsupportedMediaType for one that may have files."""
        if mimetype.startswith("multipart/"):
            raise UnsupportedMediaType("Forms have no files here.")
        return super().parse(stream, mimetype, *about, **more)


class BoundedRequest(Request):
    """A request whose form has no files."""

    form_data_parser_class = _NoFiles


class ShortFields:
    """WSGI that takes away header fields which are too long."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Hand the request on without them."""
        for name in _too_long(environ):
            del environ[name]
            environ[_TOO_LONG] = True
        return self._app(environ, start_response)


def init_app(app: Flask) -> None:
    """Bound every request of every route."""
    app.config["MAX_CONTENT_LENGTH"] = MOST_FORM_BYTES
    app.request_class = BoundedRequest
    app.wsgi_app = ShortFields(app.wsgi_app)  # type: ignore[method-assign]  # Flask's own way
    app.before_request(_refuse_long_fields)


def _too_long(environ: dict[str, Any]) -> list[str]:
    """The fields that nobody shall read. Those of a delivery don't count: most are never looked at."""
    if environ["PATH_INFO"] == WEBHOOK_PATH:
        return []
    fields = [name for name in environ if name.startswith("HTTP_") or name in _MEDIA_TYPES]
    return [name for name in fields if len(environ[name]) > _most_bytes(name)]


def _most_bytes(name: str) -> int:
    return MOST_MEDIA_TYPE_BYTES if name in _MEDIA_TYPES else MOST_FIELD_BYTES


def _refuse_long_fields() -> None:
    if _TOO_LONG in request.environ:
        raise RequestHeaderFieldsTooLarge
