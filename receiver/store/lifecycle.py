"""The states of an event and every way from one to another, once.

                                   ┌───── retry, retry later, hand-back, lost lease ──┐
                                   ▼                                                  │
    delivery ──────────────▶  pending  ── lease ──▶  (running: a lease) ──────────────┤
       │                       ▲  ▲  ▲                      │                         │
       │ authentic,            │  │  │                      ├── success ─▶ processed ─┼─ replay ─▶ pending
       │ but unusable          │  │  └── replay, ───────────┼── attempts used up,     │
       ▼                       │  │      redelivery         │   permanent ─▶ dead ────┘
    quarantined ── replay ─────┘  │                         │
                 (once it parses) └── replay, redelivery ── └── no handler ─▶ unhandled

"Running" is not a state of its own: it is `pending` with a lease and its token. A worker that dies leaves
nothing behind that somebody would have to clean up; its lease runs out, and the event is due again.

To add a state: a name here, its transitions in `TRANSITIONS`, and a migration for the table's check. Code that changes
a state goes through `origins()` or `checked()` (receiver/store/transitions.py), so it can't go a way that is not here.
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


class NoSuchWay(Exception):
    """A program wanted an event to go a way that `TRANSITIONS` does not name. It says which."""


def origins(to: State) -> frozenset[State]:
    """The states from which a way leads to this one."""
    return frozenset(state for state, ways in TRANSITIONS.items() if to in ways)


def checked(to: State, *, origin: State) -> State:
    """The state `to`, where a way leads there from `origin`. Raises NoSuchWay."""
    if to not in TRANSITIONS[origin]:
        raise NoSuchWay(f"{origin} to {to}")
    return to


REPLAYABLE = frozenset(state for state in State if state is not State.PENDING)
REVIVED_BY_REDELIVERY = frozenset({State.DEAD, State.UNHANDLED})
REVIVAL_INTERVAL = timedelta(hours=1)

BACKOFF_FIRST_SECONDS = 10.0
BACKOFF_GROWTH = 3
BACKOFF_CAP_SECONDS = 6 * 3600.0
NOT_YET = "not yet"
"""How the error of an event begins whose handler asked to be run later. No exception has a name of two words."""


def backoff(attempt: int, random: Random) -> float:
    """Seconds until the next attempt after `attempt` (1, 2, …) failed: exponential, capped, equal jitter.

    The pause lies between half of its ceiling and the whole of it. Half is random, so that events which failed together
    are not tried together. Half is certain, so that attempts reach far whatever the random numbers are: the pauses
    between the default of 16 attempts (MAX_ATTEMPTS) sum up to 25 hours at least, and to 52 hours at most. The first
    three pauses take 65 seconds at least, and 130 at most, so that a short outage ends in seconds.
    """
    ceiling = min(BACKOFF_CAP_SECONDS, BACKOFF_FIRST_SECONDS * BACKOFF_GROWTH ** min(attempt - 1, 30))
    return random.uniform(ceiling / 2, ceiling)
