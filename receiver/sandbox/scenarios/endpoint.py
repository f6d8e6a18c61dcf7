"""§2, §3 and §10: what comes is acknowledged in time, whatever it is and whatever its handler does."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

from receiver.protocol.errors import UnusablePayload
from receiver.sandbox.samples import types_of
from receiver.sandbox.scenarios.steps import (
    Payload,
    acknowledge,
    because,
    deliver,
    expect,
    expect_acknowledged,
    expect_one_effect,
    look,
    make,
    settle,
    stopped,
    told,
)
from receiver.sandbox.scenarios.target import NotJudged, Target

BURST = 60
AT_ONCE = 8


def every_type_is_acknowledged(target: Target) -> None:
    """One event of each published type, and of those of which the partner has samples."""
    for event_type in types_of(target.samples):
        acknowledge(target, make(target, event_type))


def what_was_acknowledged_survives_a_crash(target: Target) -> None:
    """The slow event keeps the worker busy, so that the others can only be waiting when everything is killed."""
    slow = make(target, target.rehearsed("slow"), data={"seconds": 2})
    waiting = [make(target) for _ in range(5)]
    for payload in (slow, *waiting):
        acknowledge(target, payload)

    with stopped(target):
        pass

    lost = [payload for payload in (slow, *waiting) if look(target, payload) is None]
    expect(not lost, "six acknowledged events to survive a kill -9", f"{len(lost)} of them were lost")
    for payload in waiting:
        expect_one_effect(target, payload, "after a kill -9 and a restart")


def a_failing_handler_does_not_fail_the_delivery(target: Target) -> None:
    """Whether a handler succeeds is our business alone."""
    failing = make(target, target.rehearsed("failing"))

    acknowledge(target, failing, "an event whose handler fails")


def a_slow_handler_does_not_delay_the_answer(target: Target) -> None:
    """The handler takes longer than an answer may take; the next delivery is not held up either."""
    slow = make(target, target.rehearsed("slow"), data={"seconds": target.answer_seconds + 0.5})

    for payload, what in ((slow, "an event with a slow handler"), (make(target), "an event after one that is slow")):
        answer = acknowledge(target, payload, what)
        expect(answer.seconds < target.answer_seconds, _in_time(target, what), f"it took {answer.seconds:.1f} s")

    settled = settle(target, slow)
    expect(settled.state == "processed", "the slow handler to end", f"its event is {settled.state}" + because(settled))


def an_oversized_body_is_refused(target: Target) -> None:
    """A receiver may also cut the connection, since it need not read what it refuses; it must go on answering."""
    oversized = make(target, data={"filler": "x" * target.largest_body})

    answer = target.sender.deliver(oversized)

    expect(answer.status in (413, 0), f"413 for a body over {target.largest_body} bytes", f"it {told(answer)}")
    acknowledge(target, make(target), "the delivery after an oversized one")


def a_burst_is_answered_in_time(target: Target) -> None:
    """Many events, several at once."""
    seconds = _burst(target, [make(target) for _ in range(BURST)])

    expect(
        seconds < target.answer_seconds,
        _in_time(target, f"each of {BURST} events at once"),
        f"one took {seconds:.1f} s",
    )


def every_event_of_a_burst_has_one_effect(target: Target) -> None:
    """None is lost in the crowd, and none is done twice."""
    payloads = [make(target) for _ in range(BURST)]

    _burst(target, payloads)

    for payload in payloads:
        expect_one_effect(target, payload, "in a burst")


def a_malformed_body_is_acknowledged(target: Target) -> None:
    """It is authentic, and will not get better by being sent again: refusing it only earns a suspension."""
    for what, body in _malformed(target.largest_body).items():
        try:
            answer = deliver(target.sender, body)
        except UnusablePayload:
            raise NotJudged(
                f"the scheme {target.sender.scheme.name} signs JSON fields; other bodies have none"
            ) from None
        expect_acknowledged(answer, f"a signed body that is {what}")
    acknowledge(target, make(target), "the delivery after a malformed one")


def _malformed(largest: int) -> dict[str, bytes]:
    depth = min(10_000, largest // 4)
    start = json.dumps({"sandbox": True, "run": uuid4().hex})[:-1].encode()
    return {
        "cut off": start + b', "event_id": ',
        "not UTF-8": start + b', "event_id": "\xff\xfe"}',
        "a list": b"[" + start + b"}]",
        "not finite": start + b', "data": {"amount": NaN}}',
        "ambiguous": start + b', "event_id": "one", "event_id": "two"}',
        "nested without end": start + b', "data": ' + b"[" * depth + b"]" * depth + b"}",
    }


def _burst(target: Target, payloads: list[Payload]) -> float:
    """Deliver them all and return the seconds that the slowest answer took."""
    with ThreadPoolExecutor(AT_ONCE) as senang:
        return max(answer.seconds for answer in senang.map(partial(acknowledge, target), payloads))


def _in_time(target: Target, what: str) -> str:
    return f"{what} to be answered within {target.answer_seconds:g} s"
