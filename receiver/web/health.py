"""Whether the receiver is alive and ready, and what it counted. Public answers give no details."""

import hmac
import os
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NoAnswer
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, cast

import structlog
from flask import Blueprint, Flask, Response, abort, current_app, jsonify, request
from sqlalchemy.exc import SQLAlchemyError

from receiver.database.causes import cause_of
from receiver.database.engine import reading
from receiver.ingest.intake import Intake, present_intake
from receiver.ingest.room import NotStored
from receiver.metrics import counted, written
from receiver.present import present_inbox
from receiver.queries.attempts import attempts_of_all_time
from receiver.queries.health import health as health_now
from receiver.queries.overview import summed_at
from receiver.store.inbox import Inbox
from receiver.store.schema import remedy_of, takes_writes
from receiver.web.numbers import numbers

READY_DEADLINE_SECONDS = 1.5
READY_CACHE_SECONDS = 5.0
SCRAPE_CACHE = timedelta(seconds=5)
COUNTED_TO = 1_000_000
"""How far events are counted: a person who sets an alert on their number may choose a high one."""

log = structlog.get_logger()
blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def alive() -> Response:
    """The process answers. No I/O."""
    return jsonify(status="alive")


@blueprint.get("/readyz")
def ready() -> tuple[Response, int]:
    """Ready: the committer runs, the database takes writes, and its schema is the one that we need. Cached for 5 s."""
    cached: tuple[float, str | None] | None = current_app.extensions.get("readiness")
    if cached is None or time.monotonic() - cached[0] > READY_CACHE_SECONDS:
        cached = (time.monotonic(), _problem())
        current_app.extensions["readiness"] = cached
        _say(current_app, cached[1])
    is_ready = cached[1] is None
    return jsonify(status="ready" if is_ready else "not ready"), 200 if is_ready else 503


def say_at_start(app: Flask) -> None:
    """Log why the database can't be used, if it can't: a release phase that never ran is seen before anybody asks."""
    _say(app, _database_problem(app.extensions["inbox"]))


@blueprint.get("/metrics")
def metrics() -> Response:
    """The numbers for Prometheus. Without METRICS_TOKEN it is a 404."""
    inbox = present_inbox()
    token = inbox.settings.metrics_token
    if not token:
        abort(404)
    if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode()):
        abort(401)
    text = counted(shared_directory=os.environ.get("PROMETHEUS_MULTIPROC_DIR") or None) + _of_database(inbox)
    return Response(text, mimetype="text/plain")


def _of_database(inbox: Inbox) -> bytes:
    """What the database knows. It is asked once in five seconds, however often somebody scrapes."""
    now = inbox.clock.now()
    cached: tuple[datetime, bytes] | None = current_app.extensions.get("scraped")
    if cached is None or not timedelta() <= now - cached[0] < SCRAPE_CACHE:
        health = health_now(inbox, count_to=COUNTED_TO)
        with reading(inbox.engine) as session:
            attempts, at = attempts_of_all_time(session), summed_at(session)
        cached = (now, written(numbers(health, attempts, at)))
        current_app.extensions["scraped"] = cached
    return cached[1]


def _problem() -> str | None:
    intake = present_intake()
    return _start_committer(intake) if intake.committer.is_broken else _database_problem(intake.inbox)


def _say(app: Flask, problem: str | None) -> None:
    """Log a problem once, not at each check: again only when it has changed."""
    if problem and problem != app.extensions.get("not_ready"):
        log.error("not_ready", reason=problem, **remedy_of(problem))
    app.extensions["not_ready"] = problem


def _database_problem(inbox: Inbox) -> str | None:
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        check: Any = pool.submit(takes_writes, inbox)
        return cast("str | None", check.result(timeout=READY_DEADLINE_SECONDS))
    except (SQLAlchemyError, NoAnswer) as error:
        return cause_of(error)
    finally:
        pool.shutdown(wait=False)


def _start_committer(intake: Intake) -> str:
    """Start the committer. A process that is not ready gets no deliveries, so nothing else would start it."""
    with suppress(NotStored):
        intake.committer.start()
    return "committer_gone"
