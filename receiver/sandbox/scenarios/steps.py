"""The steps that scenarios share: make an event, deliver it, wait for what becomes of it, and judge."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from receiver.protocol.json_body import at
from receiver.sandbox.samples import sample
from receiver.sandbox.scenarios.target import Broken, Seen, Target
from receiver.sandbox.sender import Answer, Sender

Payload = dict[str, Any]


def make(target: Target, event_type: str | None = None, **changes: Any) -> Payload:
    """A payload that says that it is from a sandbox, with an event ID of its own."""
    now = target.sender.clock.now()
    return sample(event_type or target.ordinary, fields=target.fields, now=now, own=target.samples, **changes)


def acknowledge(target: Target, payload: Payload, what: str | None = None) -> Answer:
    """Deliver the payload, which must be answered with a 2xx."""
    answer = deliver(target.sender, payload)
    expect_acknowledged(answer, what or _type_of(target, payload))
    return answer


def deliver(sender: Sender, payload: Payload | bytes) -> Answer:
    """Deliver it once. A 503 says itself that the delivery should come again, so it does, as from Senang.io (§6.1)."""
    for pause in (0.2, 0.4, 0.8, 1.6):
        answer = sender.deliver(payload)
        if answer.status != 503:
            return answer
        time.sleep(pause)
    return sender.deliver(payload)


def expect_acknowledged(answer: Answer, what: str) -> None:
    """The answer is a 2xx."""
    expect(answer.accepted, f"{what} to be acknowledged", f"it {told(answer)}")


def expect_refused(answer: Answer, what: str) -> None:
    """The answer is a 4xx: a 5xx would be tried again, and a 2xx would be believed."""
    expect(400 <= answer.status < 500, f"{what} to be refused", f"it {told(answer)}")


def expect(holds: bool, expected: str, happened: str) -> None:
    """Judge. Raises Broken."""
    if not holds:
        raise Broken(expected, happened)


def told(answer: Answer) -> str:
    """The answer in words."""
    return f"was answered {answer.status}" if answer.status else "got no answer"


def expect_one_effect(target: Target, payload: Payload, circumstances: str) -> None:
    """The event's handler was run to its end exactly once."""
    seen = settle(target, payload)
    expect(
        seen.effects == 1,
        f"an event to have one effect {circumstances}",
        f"it is {seen.state} and had {seen.effects}" + because(seen),
    )


def because(seen: Seen) -> str:
    """What its handler has to say about it."""
    return f", since its handler failed: {seen.error}" if seen.error else ""


def settle(target: Target, payload: Payload) -> Seen:
    """What became of the event, once nothing more will happen to it soon: it is done, or its handler has failed."""
    until = time.monotonic() + target.patience
    while True:
        seen = look(target, payload)
        if seen is not None and (seen.state != "pending" or seen.error):
            return seen
        if time.monotonic() > until:
            break
        time.sleep(0.05)
    happened = "there is no trace of it" if seen is None else "it is still pending"
    raise Broken(f"{_type_of(target, payload)} to be kept and worked on within {target.patience:g} s", happened)


def look(target: Target, payload: Payload) -> Seen | None:
    """What became of the event until now."""
    return target.observe(id_of(target, payload))


def id_of(target: Target, payload: Payload) -> str:
    """The payload's event ID, wherever it stands."""
    return str(at(payload, target.fields["event_id"]))


def settle_all(target: Target) -> None:
    """Wait until the worker has passed everything sent so far: an event sent now is worked on after it."""
    last = make(target)
    acknowledge(target, last)
    settle(target, last)


@contextmanager
def stopped(target: Target) -> Iterator[None]:
    """The receiver is down for the length of the block, whatever happens in it."""
    target.stop()
    try:
        yield
    finally:
        target.start()


def _type_of(target: Target, payload: Payload) -> str:
    return str(at(payload, target.fields["event_type"]))
