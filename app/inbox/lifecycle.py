"""The states of an event and every way from one to another, once.

                                   ┌────────── retry, hand-back, lost lease ──────────┐
                                   ▼                                                  │
    delivery ──────────────▶  pending  ── claim ──▶  (running: a lease) ──────────────┤
       │                       ▲  ▲  ▲                      │                         │
       │ authentic,            │  │  │                      ├── success ─▶ processed ─┼─ replay ─▶ pending
       │ but unusable          │  │  └── replay, ───────────┼── attempts used up,     │
       ▼                       │  │      redelivery         │   permanent ─▶ dead ────┘
    quarantined ── replay ─────┘  │                         │
                 (once it parses) └── replay, redelivery ── └── no handler ─▶ unhandled

"Running" is not a state of its own: it is `pending` with a claim token and a lease. A worker that dies leaves
nothing behind that somebody would have to clean up; its lease runs out, and the event is due again.

To add a state: a name here, its transitions in `TRANSITIONS`, and a migration for the table's check.
"""

from datetime import timedelta
from enum import StrEnum
from random import Random


class State(StrEnum):
    """What became of an event."""

    PENDING = "pending"
    PROCESSED = "processed"
    DEAD = "dead"
    UNHANDLED = "unhandled"
    QUARANTINED = "quarantined"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.PENDING, State.PROCESSED, State.DEAD, State.UNHANDLED}),
    State.PROCESSED: frozenset({State.PENDING}),
    State.DEAD: frozenset({State.PENDING}),
    State.UNHANDLED: frozenset({State.PENDING}),
    State.QUARANTINED: frozenset({State.PENDING}),
}

REPLAYABLE = frozenset(state for state in State if state is not State.PENDING)
REVIVED_BY_REDELIVERY = frozenset({State.DEAD, State.UNHANDLED})
REVIVAL_INTERVAL = timedelta(hours=1)

BACKOFF_BASE_SECONDS = 5.0
BACKOFF_CAP_SECONDS = 3600.0


def backoff(attempt: int, random: Random) -> float:
    """Seconds until the next attempt after `attempt` (1, 2, …) failed: exponential, capped, full jitter.

    Full jitter spreads the retries of many events that failed together over the whole interval.
    """
    ceiling = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(attempt - 1, 30))
    return random.uniform(0.0, ceiling)
