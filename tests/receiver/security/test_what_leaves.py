"""What leaves for Sentry and for OpenTelemetry tells where an error was raised, and nothing of anybody.

The values that nobody may see are planted as in test_leaks.py. The other side is a real server over HTTP.
"""

import pytest
from flask import request

from receiver.store.models import StoredEvent
from receiver.testing.others import listening
from receiver.testing.waiting import eventually
from receiver.tracing import tracing_of
from tests.receiver.collectors import Collector
from tests.receiver.processes import running
from tests.receiver.security.planting import VALUES, WAYS, found_in, planted, quote_in_every_way

PRYING = ("vars", "context_line", "pre_context", "post_context", "request", "user", "breadcrumbs", "cookies", "headers")
"""What Sentry's own integrations would add."""


@pytest.fixture
def collector():
    with listening(Collector()) as server:
        yield server


@pytest.fixture
def environment(environment, collector):
    return environment | {"SENTRY_DSN": collector.dsn, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}


def keys_of(value):
    """Every key at any depth."""
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values()))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


def title_of(event):
    """What Sentry would call it."""
    return event["exception"]["values"][-1]["type"] if "exception" in event else event["message"]


@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.soak)])
def test_errors_of_handlers_and_of_our_process_arrive_and_no_planted_value_with_them(
    app, deliver, work, workbench, intake, collector, every
):
    quote_in_every_way()
    object.__setattr__(workbench, "tracing", tracing_of(intake.inbox.settings))

    @app.get("/own/broken")
    def broken():
        raise LookupError(f"{request.args} {request.headers}")

    client = app.test_client()
    values = VALUES[::every]
    for number, value in enumerate(values):
        data = {"note": value} | (planted(value) if number % 20 == 0 else {})
        deliver(f"leak.{WAYS[number % len(WAYS)]}", event_id=f"evt_{number}", data=data)
    work()
    headers = {"X-Name": VALUES[0], "Cookie": f"name={VALUES[1]}"}
    client.get(f"/own/broken?nric={VALUES[2]}", headers=headers)

    eventually(lambda: {"PermanentFailure", "RuntimeError", "LookupError", "SystemExit"} <= titles(collector))
    for tracing in (intake.tracing, workbench.tracing):
        tracing.close()
    assert {"OperationalError", "ExceptionGroup"} <= titles(collector)
    assert keys_of(collector.events) & set(PRYING) == set()
    assert len(collector.spans) > len(values)
    assert found_in({path: body.decode("latin-1") for path, body in sent(collector)}, VALUES) == {}


def test_a_report_says_where_the_error_was_raised_and_what_caused_it(app, deliver, work, collector):
    quote_in_every_way()
    deliver("leak.cause", event_id="evt_1", data={"note": "a note"})
    work()

    eventually(lambda: collector.events)
    (event,) = collector.events
    cause, error = event["exception"]["values"]
    assert (cause["type"], error["type"]) == ("KeyError", "RuntimeError")
    frame = error["stacktrace"]["frames"][-1]
    assert (frame["filename"], frame["function"]) == (
        "tests/receiver/security/planting.py",
        "quote_in_every_way.quotes",
    )
    assert event["tags"]["event_type"] == "leak.cause"
    assert event["extra"]["event_id"] == "evt_1"
    assert event["environment"] == "sandbox"


def test_an_error_that_comes_again_and_again_is_reported_ten_times_a_minute(app, deliver, work, collector):
    quote_in_every_way()
    for number in range(30):
        deliver("leak.dead", event_id=f"evt_{number}", data={"note": "a note"})
    deliver("leak.cause", data={"note": "a note"})
    work()

    eventually(lambda: "RuntimeError" in titles(collector))
    assert 10 <= len([event for event in collector.events if title_of(event) == "PermanentFailure"]) <= 20


@pytest.mark.soak
def test_real_processes_report_their_errors_and_end_their_spans_when_they_stop(
    database, environment, sender, payload, inbox, collector, session
):
    with running(environment | {"DATABASE_URL": database}, EMBEDDED_WORKER="1") as receiver:
        web = receiver.web()
        assert receiver.sender(inbox).deliver(payload("probe.told", event_id="evt_1")).status == 200
        eventually(lambda: "KeyError" in titles(collector))
        web.terminate()
        web.wait()

    failed = next(event for event in collector.events if title_of(event) == "KeyError")
    frames = [frame["filename"] for frame in failed["exception"]["values"][-1]["stacktrace"]["frames"]]
    assert "tests/receiver/partner/handlers/probes.py" in frames
    spans = collector.spans
    assert {span.name for span in spans} == {"delivery", "attempt"}
    assert len({span.trace for span in spans}) == 1
    assert session.query(StoredEvent).filter(StoredEvent.traceparent.is_not(None)).count() == 3


def test_a_process_that_reports_to_nobody_imports_neither_library(database, environment):
    nobody = {
        name: value for name, value in environment.items() if name not in ("SENTRY_DSN", "OTEL_EXPORTER_OTLP_ENDPOINT")
    }
    script = (
        "import sys; from wsgi import app; from receiver.ingest.intake import Intake; Intake(app.extensions['inbox']);"
        "import receiver.worker.processes;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'sentry_sdk'))])"
    )
    with running(nobody | {"DATABASE_URL": database}) as receiver:
        assert receiver.python("-c", script).stdout.strip() == "[]"


def titles(collector):
    return set(map(title_of, collector.events))


def sent(collector):
    return zip(map(str, enumerate(collector.paths)), collector.bodies, strict=True)
