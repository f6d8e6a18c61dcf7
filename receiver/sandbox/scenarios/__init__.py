"""What Senang.io's page demands of a receiver, as scenarios that are played to a running one and judged.

`SCENARIOS` is the table, in the order of the page. To add one: a function of a `Target` beside its kin, which raises
`Broken` or `NotJudged` or returns, and a line here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from receiver.sandbox.scenarios import duplicates, endpoint, events, retries, signatures
from receiver.sandbox.scenarios.target import Broken, NotJudged, Target


class Verdict(StrEnum):
    """How a scenario ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Scenario:
    """One line of the report."""

    clause: str
    name: str
    play: Callable[[Target], None]


@dataclass(frozen=True)
class Result:
    """What became of a scenario. A failure's reason is a sentence that names the clause."""

    clause: str
    name: str
    verdict: Verdict
    reason: str
    seconds: float


SCENARIOS = (
    Scenario("2.3", "every event type is acknowledged", endpoint.every_type_is_acknowledged),
    Scenario("2.3", "what was acknowledged survives a kill -9", endpoint.what_was_acknowledged_survives_a_crash),
    Scenario("2.4", "a failing handler fails no delivery", endpoint.a_failing_handler_does_not_fail_the_delivery),
    Scenario("3.2", "a slow handler delays no answer", endpoint.a_slow_handler_does_not_delay_the_answer),
    Scenario("3.2", "an oversized body is refused", endpoint.an_oversized_body_is_refused),
    Scenario("3.2", "a burst is answered in time", endpoint.a_burst_is_answered_in_time),
    Scenario("3.3", "a duplicate is acknowledged", duplicates.a_duplicate_is_acknowledged),
    Scenario("4.2", "a wrong signature is refused", signatures.a_wrong_signature_is_refused),
    Scenario("4.2", "a missing signature is refused", signatures.a_missing_signature_is_refused),
    Scenario(
        "4.2", "the signature comes before the parsing", signatures.the_signature_is_checked_before_the_body_is_parsed
    ),
    Scenario("4.3", "a rotated secret is accepted", signatures.a_rotated_secret_is_accepted),
    Scenario("4.4", "a stale signature is refused", signatures.a_stale_signature_is_refused),
    Scenario("4.4", "a signature from the future is refused", signatures.a_signature_from_the_future_is_refused),
    Scenario("5.1", "every event type is processed", events.every_type_is_processed),
    Scenario("5.2", "an unknown event type is kept", events.an_unknown_type_is_kept),
    Scenario("6.1", "retries at increasing intervals end a downtime", retries.retries_end_the_downtime),
    Scenario("6.2", "events in any order end the same", retries.events_in_any_order_end_the_same),
    Scenario("6.3", "what was given up may come again", retries.what_was_given_up_may_come_again),
    Scenario("6.4", "a dead event is replayed", retries.a_dead_event_is_replayed),
    Scenario("7.1", "a duplicate has no effect", duplicates.a_duplicate_has_no_effect),
    Scenario("7.2", "the first body of an event ID wins", duplicates.the_first_body_of_an_id_wins),
    Scenario("7.3", "concurrent duplicates have one effect", duplicates.concurrent_duplicates_have_one_effect),
    Scenario("7.3", "each event of a burst has one effect", endpoint.every_event_of_a_burst_has_one_effect),
    Scenario("10.1", "a malformed body is acknowledged", endpoint.a_malformed_body_is_acknowledged),
    Scenario("11.1", "new fields do no harm", events.new_fields_do_no_harm),
    Scenario("11.1", "a changed structure is acknowledged", events.a_changed_structure_is_acknowledged),
)


def judge(scenario: Scenario, target: Target) -> Result:
    """Play one scenario to the target."""
    begun = time.monotonic()
    verdict, reason = Verdict.PASSED, ""
    try:
        scenario.play(target)
    except NotJudged as why:
        verdict, reason = Verdict.NOT_JUDGED, str(why)
    except Broken as broken:
        verdict, reason = Verdict.FAILED, f"{broken}: that breaks §{scenario.clause}."
    return Result(scenario.clause, scenario.name, verdict, reason, time.monotonic() - begun)


def chosen(clauses: tuple[str, ...]) -> list[Scenario]:
    """The scenarios of these clauses or sections (`4` is all of §4); without any, all."""
    return [
        scenario
        for scenario in SCENARIOS
        if not clauses or any(f"{scenario.clause}.".startswith(f"{clause}.") for clause in clauses)
    ]
