"""A receiver behind a path prefix, `SCRIPT_NAME`: the router hands `/pay/events` on as it is, or as `/events`.

Both kinds of router work: the prefix is removed if it is there, and every link, redirect and cookie has it. No other
code knows about it, except `Settings.webhook_path`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class PathPrefix:
    """WSGI in front of everything that looks at a path."""

    def __init__(self, app: Callable[..., Iterable[bytes]], prefix: str) -> None:
        self._app, self._prefix = app, prefix

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Hand the request on with the prefix where WSGI says that it belongs."""
        path = environ["PATH_INFO"]
        if path == self._prefix or path.startswith(f"{self._prefix}/"):
            path = path[len(self._prefix) :]
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = self._prefix, path or "/"
        return self._app(environ, start_response)


def init_app(app: Flask, prefix: str) -> None:
    """Serve the app under the prefix; empty means at the root."""
    if prefix:
        app.config["SESSION_COOKIE_PATH"] = prefix
        app.wsgi_app = PathPrefix(app.wsgi_app, prefix)  # type: ignore[method-assign]  # Flask's own way
