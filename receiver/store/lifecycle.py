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

    dead, unhandled, quarantined ── dismiss ──▶ dismissed ── replay ──▶ pending
    all of these, and pending ── erase a person's data ──▶ dismissed

A person dismisses what needs no more work. A redelivery does not revive it. An event whose data was erased needs no
more work either: no handler could read it.
"Running" is not a state of its own: it is `pending` with a lease and its token. A worker that dies leaves nothing to
clean up. Its lease ends, and the event is due again.

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
    DISMISSED = "dismissed"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.PENDING, State.PROCESSED, State.DEAD, State.UNHANDLED, State.DISMISSED}),
    State.PROCESSED: frozenset({State.PENDING}),
    State.DEAD: frozenset({State.PENDING, State.DISMISSED}),
    State.UNHANDLED: frozenset({State.PENDING, State.DISMISSED}),
    State.QUARANTINED: frozenset({State.PENDING, State.DISMISSED}),
    State.DISMISSED: frozenset({State.PENDING}),
}


class NoSuchWay(Exception):
    """Code wanted to bring an event to a state by a way that `TRANSITIONS` does not name. The message says which."""


def origins(to: State) -> frozenset[State]:
    """The states from which an event may go to this one."""
    return frozenset(state for state, ways in TRANSITIONS.items() if to in ways)


def checked(to: State, *, origin: State) -> State:
    """The state `to`, if an event may go there from `origin`. Raises NoSuchWay."""
    if to not in TRANSITIONS[origin]:
        raise NoSuchWay(f"{origin} to {to}")
    return to


REPLAYABLE = frozenset(state for state in State if state is not State.PENDING)
DISMISSABLE = frozenset({State.DEAD, State.UNHANDLED, State.QUARANTINED})
"""What a person may dismiss. A pending event becomes dismissed only when its data is erased."""
REVIVED_BY_REDELIVERY = frozenset({State.DEAD, State.UNHANDLED})
REVIVAL_INTERVAL = timedelta(hours=1)

EVERY = "*"
"""In a pause, it stands for every event type."""

BACKOFF_FIRST_SECONDS = 10.0
BACKOFF_GROWTH = 3
BACKOFF_CAP_SECONDS = 6 * 3600.0
NOT_YET = "not yet"
"""How the last error begins when the handler asked to run later. No exception has a name of two words."""


def backoff(attempt: int, random: Random) -> float:
    """Seconds until the next attempt after `attempt` (1, 2, …) failed: exponential, capped, equal jitter.

    The pause is between half of its ceiling and the whole of it. One half is random, so that events that failed
    together are not tried together. The other half is certain, so that the attempts always reach far: with the default
    of 16 attempts (MAX_ATTEMPTS), the pauses take at least 25 hours and at most 52 hours together. The first three
    pauses take 65 to 130 seconds, so that a short outage costs only seconds.
    """
    ceiling = min(BACKOFF_CAP_SECONDS, BACKOFF_FIRST_SECONDS * BACKOFF_GROWTH ** min(attempt - 1, 30))
    return random.uniform(ceiling / 2, ceiling)
