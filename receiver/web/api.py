"""The read-only JSON API at /api, for programs with a token. receiver/actions/tokens.py says what a token is.

It shows what the pages show a viewer, masked by the same functions, in the shapes of receiver/queries/told.py. It knows
no session and no cookie. A page of rows has `MOST_ROWS` at most; a token has `MOST_A_MINUTE` requests in a minute, in
each web process. To add an answer: a view here with its scope, its line in `ACCESS`, and its description in
receiver/contract/api.py. Tests hold that the contract describes every view, and that real answers fit it.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, cast

from flask import Blueprint, Flask, Response, abort, current_app, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, Forbidden, TooManyRequests, Unauthorized

from receiver.actions import tokens
from receiver.database.engine import reading
from receiver.extensions import csrf
from receiver.present import present_inbox, request_id
from receiver.protocol.json_body import to_json
from receiver.queries.audit_trail import AUDIT_PAGE, audit_trail, list_audit
from receiver.queries.conditions import conditions
from receiver.queries.failures import failures as failures_now
from receiver.queries.filters import BadFilter, Filter, row_number, to_cursor
from receiver.queries.health import DEFAULT_LIMITS
from receiver.queries.health import health as health_now
from receiver.queries.search import PAGE, follow_ups_of, page
from receiver.queries.told import (
    AUDIT,
    EVENT,
    columns_of,
    event_with_everything,
    failures_by_cause,
    health_with_alarms,
)
from receiver.store.models import StoredEvent
from receiver.store.shown import shown
from receiver.web import audit, events, failures

MOST_ROWS = 200
MOST_A_MINUTE = 120
_RATE = "api rate"
OF_EVENTS = (*Filter.PARAMETERS, "before", "after", "limit")
OF_AUDIT = (*audit.FILTER, "before", "limit")

blueprint = Blueprint("api", __name__, url_prefix="/api")


class Rate:
    """How many requests each token has had in the present minute, in this process."""

    def __init__(self) -> None:
        self._minute: datetime | None = None
        self._had: Counter[int] = Counter()

    def admits(self, token_id: int, now: datetime) -> bool:
        """Count a request, and say whether it is within the bound."""
        minute = now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute, self._had = minute, Counter()
        self._had[token_id] += 1
        return self._had[token_id] <= MOST_A_MINUTE


def init_app(app: Flask) -> None:
    """Count the requests of tokens."""
    app.extensions[_RATE] = Rate()
    csrf.exempt(blueprint)


def needs(scope: str, *parameters: str) -> Callable[[Callable[..., Any]], Callable[..., Response]]:
    """Only a token with the scope may use the view, and only with these parameters in the address."""

    def guard(view: Callable[..., Any]) -> Callable[..., Response]:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Response:
            _admit(scope)
            if request.args.keys() - set(parameters):
                known = ", ".join(parameters) or "none"
                raise BadRequest(f"The address has a parameter that means nothing here. Known: {known}.")
            return Response(to_json(view(*args, **kwargs)) + "\n", mimetype="application/json")

        return guarded

    return guard


@blueprint.get("/events")
@needs("events:read", *OF_EVENTS)
def list_events() -> dict[str, Any]:
    """The newest events that match, a page at a time."""
    inbox = present_inbox()
    chosen, before, after = events.filter_of_request(), events.position("before"), events.position("after")
    with reading(inbox.engine) as session:
        found = page(session, chosen, before=before, after=after, limit=_limit(PAGE))
    return {
        "events": [columns_of(shown(row, inbox.settings.showing), EVENT) for row in found.rows],
        "older": found.older and to_cursor(found.older),
        "newer": found.newer and to_cursor(found.newer),
        "capped": found.capped,
    }


@blueprint.get("/events/<row:inbox_id>")
@needs("events:read")
def show_event(inbox_id: int) -> dict[str, Any]:
    """One event: its envelope, its masked payload and what happened to it."""
    inbox = present_inbox()
    with reading(inbox.engine) as session:
        row = session.get(StoredEvent, inbox_id) or abort(404)
        trail, asked = audit_trail(session, row), follow_ups_of(session, row.id)
    return event_with_everything(inbox.settings, row, trail, asked)


@blueprint.get("/audit")
@needs("audit:read", *OF_AUDIT)
def list_audit_rows() -> dict[str, Any]:
    """The newest rows of the audit log that match, a page at a time."""
    inbox, most = present_inbox(), _limit(AUDIT_PAGE)
    with reading(inbox.engine) as session:
        found = list_audit(session, audit.filter_of_request(), before=audit.position(), limit=most + 1)
    rows = found[:most]
    return {
        "audit": [columns_of(shown(row, inbox.settings.showing), AUDIT) for row in rows],
        "older": to_cursor((rows[-1].at, rows[-1].id)) if len(found) > most else None,
    }


@blueprint.get("/health")
@needs("health:read")
def show_health() -> dict[str, Any]:
    """The facts of this moment, and what needs a person: as `events check --json` tells them."""
    inbox = present_inbox()
    found = health_now(inbox)
    return health_with_alarms(found, conditions(found, DEFAULT_LIMITS), inbox.settings)


@blueprint.get("/failures")
@needs("failures:read", "since")
def list_failures() -> dict[str, Any]:
    """Failures by their cause: new causes first, then the most frequent ones."""
    inbox = present_inbox()
    with reading(inbox.engine) as session:
        since = failures.since_of_request(session)
        found = failures_now(session, since)
    return failures_by_cause(found, since, inbox.settings.showing)


def _admit(scope: str) -> None:
    """Raises Unauthorized, TooManyRequests or Forbidden."""
    inbox, given = present_inbox(), request.authorization
    is_bearer = given is not None and given.type == "bearer"
    token = tokens.token_of(inbox, given.token or "") if is_bearer and given else None
    if token is None:
        asked = WWWAuthenticate("bearer")
        raise Unauthorized("A token is needed, and it must work. It may be revoked, or its time is over.", None, asked)
    now = inbox.clock.now()
    if not cast(Rate, current_app.extensions[_RATE]).admits(token.id, now):
        raise TooManyRequests(f"A token has {MOST_A_MINUTE} requests in a minute.", retry_after=60 - now.second)
    tokens.note_use(inbox, token, request_id=request_id())
    if scope not in token.scopes.split():
        raise Forbidden(f"The token may not read this: it needs the scope {scope}.")


def _limit(usual: int) -> int:
    """How many rows a page has. Raises BadFilter."""
    text = request.args.get("limit")
    number = row_number(text) if text else usual
    if number is None or number > MOST_ROWS:
        raise BadFilter("limit")
    return number
