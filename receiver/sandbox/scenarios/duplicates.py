"""§7 and §3.3: an event has one effect, however often and however it comes."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from receiver.sandbox.scenarios.steps import acknowledge, expect_one_effect, id_of, make, settle, settle_all
from receiver.sandbox.scenarios.target import Target

ROUNDS = 5
AT_ONCE = 8


def a_duplicate_is_acknowledged(target: Target) -> None:
    """A refused duplicate would only come again."""
    payload = make(target)

    acknowledge(target, payload)

    acknowledge(target, payload, "a duplicate")


def a_duplicate_has_no_effect(target: Target) -> None:
    """It comes before the first delivery was worked on, and again afterwards."""
    payload = make(target)

    acknowledge(target, payload)
    acknowledge(target, payload)
    settle(target, payload)
    acknowledge(target, payload)
    settle_all(target)

    expect_one_effect(target, payload, "when it is delivered three times")


def the_first_body_of_an_id_wins(target: Target) -> None:
    """Another body under a known event ID is not that event; it must not be refused either."""
    payload = make(target)
    other = make(target, event_id=id_of(target, payload))

    acknowledge(target, payload)
    settle(target, payload)
    acknowledge(target, other, "another body under a known event ID")
    settle_all(target)

    expect_one_effect(target, payload, "when its ID comes again with another body")


def concurrent_duplicates_have_one_effect(target: Target) -> None:
    """Each event comes several times at the same moment."""
    payloads = [make(target) for _ in range(ROUNDS)]

    with ThreadPoolExecutor(AT_ONCE) as senang:
        for payload in payloads:
            list(senang.map(partial(acknowledge, target), [payload] * AT_ONCE))
    settle_all(target)

    for payload in payloads:
        expect_one_effect(target, payload, f"when it is delivered {AT_ONCE} times at once")
