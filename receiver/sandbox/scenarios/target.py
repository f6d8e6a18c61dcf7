"""What a scenario may ask of the receiver that it judges, and the two ways in which it may end early.

`Target` is a receiver seen from outside: it gives answers, and nothing else can be known. A target that can do more
(look inside, stop and start) overrides what it can; what it cannot do says why, and those words are in the report.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, NoReturn

from receiver.sandbox.samples import Samples
from receiver.sandbox.sender import Sender


class Broken(Exception):
    """The receiver does not do what a clause demands. Both parts continue a sentence: expected … but …"""

    def __init__(self, expected: str, happened: str) -> None:
        self.expected, self.happened = expected, happened
        super().__init__(f"Expected {expected}, but {happened}")


class NotJudged(Exception):
    """It can't be told here whether the receiver does what a clause demands; the message says why."""


@dataclass(frozen=True)
class Seen:
    """What became of an event, as its receiver keeps it."""

    state: str  # pending, processed, dead or unhandled
    effects: int  # how many runs of its handler were committed
    error: str | None = None  # of its last attempt, masked


@dataclass(kw_only=True)
class Target:
    """A receiver with the settings that it shares with its sender."""

    sender: Sender
    fields: Mapping[str, str]  # where the envelope's fields stand in a payload
    tolerance: timedelta  # of timestamps, either way
    largest_body: int
    ordinary: str = "payment.success"  # the type of events that only have to come and go
    samples: Samples = field(default_factory=dict)  # the partner's own
    previous: Sender | None = None  # signs with the secret that is being rotated out
    answer_seconds: float = 3.0
    patience: float = 30.0  # seconds until what is still not done counts as failed

    def rotating(self) -> Sender:
        """The sender that has not switched to the newest secret yet."""
        if self.previous is None:
            raise NotJudged("SENANG_WEBHOOK_SECRETS has one secret only, so there is none to rotate out")
        return self.previous

    def rehearsed(self, kind: Literal["slow", "failing"]) -> str:
        """The event type whose handler sleeps for `data.seconds`, or fails for good until it is replayed."""
        _only_inside(f"a {kind} handler")

    def observe(self, event_id: str) -> Seen | None:
        """What became of the event; None when there is no trace of it."""
        _only_inside("what became of an event")

    def status_of(self, kind: str, reference: str) -> str | None:
        """The status that handlers gave a policy, transaction or claim. None where nobody says one."""
        _only_inside("what handlers have written")

    def replay(self, event_id: str) -> None:
        """Make the event due again, as an operator would."""
        _only_inside("a replay")

    def stop(self) -> None:
        """End the receiver on the spot, as a power cut would."""
        _only_inside("stopping and starting a receiver")

    def start(self) -> None:
        """Start the receiver and wait until it is ready."""
        _only_inside("stopping and starting a receiver")


def _only_inside(what: str) -> NoReturn:
    raise NotJudged(f"{what} is out of reach from outside; run it without --to")
