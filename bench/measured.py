"""The raw figures of a run, and how they are compared: round by round, and then the median of the comparisons."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from bench.contenders import EMPTY
from bench.load import Result


@dataclass(frozen=True)
class Conditions:
    """How it was measured."""

    rounds: int
    seconds: int
    senders: int
    body_bytes: int
    processes: Mapping[str, int]


@dataclass(frozen=True)
class Measured:
    """One receiver in one round. CPU in seconds: the receiver's processes, and the database's."""

    result: Result
    cpu: float
    database_cpu: float

    @property
    def per_second(self) -> float:
        """Acknowledgements in a second."""
        return self.result.per_second

    @property
    def p99(self) -> float:
        """In milliseconds."""
        return self.result.p99

    @property
    def event_cpu(self) -> float:
        """Microseconds of CPU that an event costs, the database's included."""
        return 1e6 * (self.cpu + self.database_cpu) / self.result.acknowledged


class Ratio(NamedTuple):
    """A comparison of every round with itself."""

    median: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.lowest:.2f}–{self.highest:.2f})"


@dataclass
class Field:
    """All receivers on one kind of database, in all rounds."""

    rounds: dict[str, list[Measured]] = field(default_factory=dict)
    pgbench: list[float] = field(default_factory=list)
    mebibytes: dict[str, float] = field(default_factory=dict)

    @property
    def empty(self) -> str:
        """The name of the faster empty view."""
        return max(EMPTY, key=lambda name: self.median(name, lambda measured: measured.per_second))

    @property
    def spread(self) -> float:
        """The empty view's best round by its worst: what the machine itself did meanwhile."""
        found = [measured.per_second for measured in self.rounds[self.empty]]
        return max(found) / min(found)

    def median(self, name: str, figure: Callable[[Measured], float]) -> float:
        """Of a receiver's rounds."""
        return median(figure(measured) for measured in self.rounds[name])

    def ratio(self, name: str, other: str, figure: Callable[[Measured], float] = lambda m: m.per_second) -> Ratio:
        """A receiver's figure by another one's of the same round."""
        pairs = zip(self.rounds[name], self.rounds[other], strict=True)
        found = [figure(one) / figure(another) for one, another in pairs]
        return Ratio(median(found), min(found), max(found))
