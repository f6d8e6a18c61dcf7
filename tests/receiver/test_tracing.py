"""OpenTelemetry: a delivery, its attempts and their follow-ups are one trace, and no value of a payload is in it."""

from dataclasses import replace

import pytest

from receiver.config import ConfigurationError, load_settings
from receiver.protocol.json_body import to_json
from receiver.registry import PermanentFailure, RetryLater, handles
from receiver.testing import ENVIRONMENT, both_databases
from receiver.testing.others import listening
from receiver.tracing import tracing_of
from tests.receiver.collectors import Collector
from tests.receiver.processes import free_port

SENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE, PARENT = SENT.split("-")[1:3]


@pytest.fixture
def collector():
    with listening(Collector()) as server:
        yield server


@pytest.fixture
def environment(environment, collector):
    return environment | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}


@pytest.fixture
def workbench(workbench, inbox):
    return replace(workbench, tracing=tracing_of(inbox.settings))


@pytest.fixture
def spans(collector, intake, workbench):
    """Every span, once the processes have ended."""

    def sent():
        intake.tracing.close()
        workbench.tracing.close()
        return collector.spans

    return sent


@pytest.fixture
def post(app, sender, payload):
    """Deliver with this traceparent."""

    def knock(event_type, traceparent=SENT, *, signed=True, **changes):
        made = sender.signed(to_json(payload(event_type, **changes)).encode())
        headers = {**(made.headers if signed else {}), "traceparent": traceparent}
        return app.test_client().post("/webhooks/senang", data=made.body, headers=headers)

    return knock


@both_databases
def test_a_delivery_its_attempt_and_its_follow_up_are_one_trace_which_the_sender_began(post, work, spans):
    post("probe.told", event_id="evt_1")
    work()

    delivery, attempt, *follow_ups = sorted(spans(), key=lambda span: (span.name != "delivery", "fup" in str(span)))

    assert {span.trace for span in (delivery, attempt, *follow_ups)} == {TRACE}
    assert (delivery.name, delivery.parent) == ("delivery", PARENT)
    assert (attempt.name, attempt.parent) == ("attempt", delivery.span)
    assert [span.parent for span in follow_ups] == [attempt.span] * 2
    assert delivery.attributes["senang.result"] == "accepted"
    assert attempt.attributes["senang.result"] == "processed"
    assert (attempt.attributes["senang.event_id"], attempt.attributes["senang.attempt"]) == ("evt_1", 1)
    assert delivery.seconds > 0


def test_each_attempt_has_a_span_and_one_that_fails_says_where_but_no_word_of_its_error(post, work, spans, clock):
    calls = []

    @handles("test.event")
    def fails(event, session):
        calls.append(event.id)
        raise [RetryLater(60, "Siti is away"), ValueError("Siti"), PermanentFailure("Siti")][len(calls) - 1]

    post("test.event")
    for _ in range(3):
        work()
        clock.advance(minutes=2)

    delivery, *attempts = spans()

    assert [span.parent for span in attempts] == [delivery.span] * 3
    assert [span.is_error for span in attempts] == [False, True, True]
    assert attempts[0].attributes["senang.result"] == "retry later"
    assert attempts[1].attributes["senang.error"].startswith("ValueError at tests/receiver/test_tracing.py:")
    assert "Siti" not in str(attempts)


def test_who_can_not_sign_can_not_choose_a_trace(post, spans):
    post("payment.success", signed=False)

    (refused,) = spans()

    assert refused.trace != TRACE
    assert not refused.parent
    assert refused.attributes["senang.reason"] == "missing_signature"


def test_a_traceparent_that_is_none_begins_a_new_trace(post, work, spans, stored):
    post("payment.success", "00-siti-900101145678-zz", event_id="evt_1")
    work()

    found = spans()

    assert len({span.trace for span in found}) == 1
    assert len(found) == 2
    assert stored("evt_1").traceparent.startswith(f"00-{found[0].trace}-{found[0].span}-")


def test_what_a_handler_does_is_in_the_span_of_its_attempt(post, work, spans):
    from opentelemetry import trace

    within = []

    @handles("test.event")
    def looks(event, session):
        within.append(f"{trace.get_current_span().get_span_context().span_id:016x}")

    post("test.event")
    work()

    assert within == [spans()[-1].span]


def test_a_collector_that_is_away_costs_a_delivery_nothing(environment, request):
    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"

    assert request.getfixturevalue("deliver")().status == 200


def test_a_copy_of_a_live_receiver_sends_no_span(environment):
    assert tracing_of(load_settings(environment | {"FOLLOW_UPS": "0"})) is None


@pytest.mark.parametrize(
    ("setting", "value", "package"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318", "opentelemetry-sdk"),
        ("SENTRY_DSN", "https://key@sentry.example/1", "sentry-sdk"),
    ],
)
def test_the_start_is_refused_where_the_package_is_not_installed(monkeypatch, tmp_path, setting, value, package):
    monkeypatch.setattr("sys.path", [str(tmp_path)])

    with pytest.raises(ConfigurationError) as caught:
        load_settings(ENVIRONMENT | {setting: value})

    (mistake,) = [line for line in caught.value.mistakes if line.startswith(setting)]
    assert package in mistake
    assert "make lock" in mistake
