"""The queues that bench/drain.py lets drain one backlog: ours, and others as their own documentation says to run them.

A queue is a module with a class that fills, starts and checks it, and says how it is tuned and what it lacks. What
every job does is not its business: that stands in effect.py. To add one: such a module, and its line in bench/drain.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Command:
    """A process to start, and what it finds in its environment beside our own."""

    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


class Queue(Protocol):
    """One of those that are measured."""

    name: str
    tuning: str
    lacks: str
    ends_itself: bool
    """Whether its processes end when the backlog is drained; others are told to, by SIGTERM."""

    def fill(self, url: str, bodies: Sequence[bytes]) -> None:
        """Put the backlog into the database, once. Every run gets a copy of that database."""

    def before_run(self, bodies: Sequence[bytes]) -> None:
        """Put the backlog where a copied database does not bring it."""

    def commands(self, url: str, processes: int) -> list[Command]:
        """What to start so that the backlog is drained by so many processes."""

    def unfinished(self, url: str) -> int:
        """Jobs that failed, or that are not known to be done, after the run."""
