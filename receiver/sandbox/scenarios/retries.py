"""§6: downtime, retries, what they do to the order of events, and failures of our own."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import uuid4

from receiver.sandbox.scenarios.steps import (
    acknowledge,
    because,
    deliver,
    expect,
    expect_acknowledged,
    expect_one_effect,
    id_of,
    make,
    settle,
    settle_all,
    stopped,
)
from receiver.sandbox.scenarios.target import NotJudged, Target

LIVES = (
    ("policy", "policy_id", "policy.issued", "policy.cancelled"),
    ("transaction", "transaction_id", "payment.failed", "payment.success"),
    ("claim", "claim_id", "claim.submitted", "claim.updated"),
)
"""A subject, the field that refers to it, and two events in its life, the older one first."""


def retries_end_the_downtime(target: Target) -> None:
    """Nobody answers; Senang.io retries at increasing intervals, and one of the retries gets through."""
    payload = make(target)

    with ThreadPoolExecutor(1) as senang:
        with stopped(target):
            target.sender.deliver(payload)
            delivered = senang.submit(target.sender.deliver_until_accepted, payload, attempts=10)
        answer = delivered.result()

    expect_acknowledged(answer, "a retry at the end of a downtime")
    expect_one_effect(target, payload, "after a downtime")


def events_in_any_order_end_the_same(target: Target) -> None:
    """The older event comes last, as a retry does."""
    now = target.sender.clock.now()
    known = False
    for kind, field, *types in LIVES:
        older, newer = types
        life = [(older, now - timedelta(minutes=1)), (newer, now)]
        right, wrong = (_status_after(target, kind, field, events) for events in (life, life[::-1]))
        expect(
            right == wrong,
            f"a {kind} to end as {right} in whatever order {older} and {newer} come",
            f"the older one came last and left it {wrong}",
        )
        known |= right is not None
    if not known:
        raise NotJudged("no describer says a `status` of a policy, transaction or claim")


def what_was_given_up_may_come_again(target: Target) -> None:
    """The downtime outlasts the last retry; later the event is sent by hand."""
    payload = make(target)

    with stopped(target):
        given_up = target.sender.deliver_until_accepted(payload, attempts=3)
        expect(given_up.status == 0, "nobody to answer during the downtime", f"somebody said {given_up.status}")

    acknowledge(target, payload, "an event that was given up and sent again")
    expect_one_effect(target, payload, "after it was given up and sent again")


def a_dead_event_is_replayed(target: Target) -> None:
    """Its handler fails for good, somebody mends the cause, and the event is not lost."""
    failing = make(target, target.rehearsed("failing"))
    deliver(target.sender, failing)

    dead = settle(target, failing)
    expect(dead.state == "dead", "an event whose handler fails for good to be dead", f"it is {dead.state}")
    target.replay(id_of(target, failing))
    settle_all(target)

    expect_one_effect(target, failing, "after its replay")


def _status_after(target: Target, kind: str, field: str, events: list[tuple[str, datetime]]) -> str | None:
    """The status of a subject of its own, once these events of it were worked on, one after the other."""
    reference = f"SANDBOX-{uuid4().hex}"
    for event_type, moment in events:
        payload = make(target, event_type, **{field: reference, "timestamp": moment.isoformat()})
        acknowledge(target, payload)
        seen = settle(target, payload)
        expect(not seen.error, f"{event_type} to be worked on in any order", f"it is {seen.state}" + because(seen))
    return target.status_of(kind, reference)
