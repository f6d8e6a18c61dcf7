"""The short way to the door for usual deliveries. It skips Flask's routing, contexts and hooks.

The work is the same, `door.take()`, and so are the headers of the answer. A request that is not a plain, small POST to
the one address goes Flask's way. So does a request that can't be read.

The lane is open only while nobody else wants to see each request. It stands where Flask's own `wsgi_app` stood, so
whatever WSGI middleware is put around the app stands in front of it, and sees each delivery. `_Listeners` finds
everybody else. To find another kind of listener, add it there.
"""

import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from types import MethodType
from typing import Any

import flask
import structlog
from flask import Flask, signals
from werkzeug.exceptions import HTTPException

from receiver.config import WEBHOOK_PATH
from receiver.ingest import route
from receiver.ingest.answering import UNEXPECTED, Reply
from receiver.ingest.door import take
from receiver.ingest.intake import Intake, intake_of
from receiver.ingest.reading import SMALL_BODY, Environ, Incoming, read
from receiver.logs import LOGGED
from receiver.present import new_request_id

StartResponse = Callable[..., Any]
SETTING = "FAST_LANE=0"
VIEW = f"{route.blueprint.name}.receive"
log = structlog.get_logger()
_STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class FastLane:
    """WSGI in place of Flask's own."""

    def __init__(self, app: Flask, headers: list[tuple[str, str]], *, may_open: bool) -> None:
        """Put the lane into the app. `headers` are those that every answer has."""
        self._app, self._flask, self._headers, self._may_open = app, app.wsgi_app, headers, may_open
        self._listeners: _Listeners | None = None
        self._said: list[str] | None = None
        app.wsgi_app = self  # type: ignore[method-assign]  # Flask's own way

    def open(self) -> None:
        """All listeners that exist now are ours. A listener that comes later is not, and closes the lane."""
        self._listeners = _Listeners(self._app, self._flask)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a plain delivery; hand everything else on."""
        if not (_is_plain(environ) and self._is_open()):
            return self._flask(environ, start_response)
        intake, request_id = intake_of(self._app), new_request_id()
        try:
            incoming = read(environ, intake.inbox.settings, request_id=request_id, started=time.monotonic())
        except HTTPException:  # Flask's way reads again, fails again, and says so
            return self._flask(environ, start_response)
        reply = _taken(intake, incoming)
        environ[LOGGED] = True
        text = reply.body.encode()
        about = [("Content-Type", reply.media_type), ("Content-Length", str(len(text))), *reply.headers]
        start_response(_STATUS[reply.status], [*about, *self._headers, ("X-Request-ID", request_id)])
        return [text]

    def _is_open(self) -> bool:
        """Whether deliveries may pass. The log says it once, and again only when it has changed."""
        others = self._listeners.others() if self._may_open and self._listeners else [SETTING]
        if others != self._said:
            self._said = others
            log.info("fast_lane", is_open=not others, closed_by=", ".join(others))
        return not others


def _taken(intake: Intake, incoming: Incoming) -> Reply:
    try:
        return take(intake, incoming)
    except Exception as error:
        log.error("unexpected_error", exc_info=error)
        return UNEXPECTED


def _is_plain(environ: Environ) -> bool:
    length = environ.get("CONTENT_LENGTH", "")
    return (
        environ["PATH_INFO"] == WEBHOOK_PATH
        and environ["REQUEST_METHOD"] == "POST"
        and length.isdecimal()
        and int(length) <= SMALL_BODY
        and "HTTP_TRANSFER_ENCODING" not in environ
    )


_SIGNALS = (
    signals.request_started,
    signals.request_finished,
    signals.request_tearing_down,
    signals.got_request_exception,
    signals.appcontext_pushed,
    signals.appcontext_popped,
    signals.appcontext_tearing_down,
)


class _Listeners:
    """Who sees each delivery on Flask's way: our own, as they are when this is made, and others, who come later.

    Flask is asked at each delivery, for it lets anybody listen at any time. That takes two microseconds.
    """

    def __init__(self, app: Flask, wsgi: Callable[..., Any]) -> None:
        self._app, self._ours = app, tuple(map(_copied, _listening(app)))
        self._around = [] if _is_flasks_own(wsgi) else ["middleware in wsgi_app of Flask"]

    def others(self) -> list[str]:
        """What each of the others is, and its name."""
        found = list(self._around)
        now = _listening(self._app)
        if now != self._ours:
            found += _told_apart(now, self._ours)
        for signal in _SIGNALS:
            if signal.receivers:
                found += [f"signal {signal.name} {_name(one)}" for one in signal.receivers_for(self._app)]
        return found


_KINDS = (
    "view function", "error handler", "teardown_appcontext", "before_request", "before_request", "after_request",
    "after_request", "teardown_request", "teardown_request", "url_value_preprocessor", "url_value_preprocessor",
)  # fmt: skip
"""What `_listening()` returns: hooks of the app, and hooks of the webhook's blueprint alone."""


def _listening(app: Flask) -> tuple[Any, ...]:
    """The functions that Flask calls for a delivery, by their kind."""
    name = route.blueprint.name
    before, after, teardown = app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs
    values = app.url_value_preprocessors
    return (
        app.view_functions[VIEW], app.error_handler_spec[None][None].get(Exception), app.teardown_appcontext_funcs,
        before.get(None), before.get(name), after.get(None), after.get(name), teardown.get(None), teardown.get(name),
        values.get(None), values.get(name),
    )  # fmt: skip


def _told_apart(now: tuple[Any, ...], ours: tuple[Any, ...]) -> list[str]:
    found = []
    for kind, present, known in zip(_KINDS, map(_listed, now), map(_listed, ours), strict=True):
        if present != known:
            found += [f"{kind} {_name(function)}" for function in present if function not in known] or [kind]
    return found


def _copied(functions: Any) -> Any:
    return [*functions] if isinstance(functions, list) else functions


def _listed(functions: Any) -> list[Any]:
    return functions if isinstance(functions, list) else [] if functions is None else [functions]


def _is_flasks_own(wsgi: Callable[..., Any]) -> bool:
    """False where somebody has put something around it, in the class of all apps, say to measure requests."""
    return isinstance(wsgi, MethodType) and wsgi.__func__.__code__.co_filename == flask.app.__file__


def _name(function: Any) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', type(function).__name__)}"
