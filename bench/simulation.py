"""`python -m bench.simulation`: prints the tables of docs/scaling.md that are no measurements.

Deliveries are played one by one: each needs its web process, then a place in a group of that process's committer, then
a core of the database and a flush of its log, which whoever waits shares. Another step of growth: a line in `STEPS`.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from statistics import fmean
from typing import NamedTuple

from docs.scaling.spread import spread
from receiver.ingest.group_commit import MOST_AT_ONCE

Then = Callable[[], None]

APP_CPU = 142e-6  # a web process, per acknowledged event: bench/RESULTS.md
DATABASE_CPU = 50e-6  # PostgreSQL, per acknowledged event: measured there too
SQLITE_CPU = 100e-6  # SQLite, per event in a group: measured through the receiver's own store
GROUP_CPU = 200e-6  # a group's round trip and statement, however small: a lone event through the store
FLUSH = 1e-3  # a synced write of the log: an assumption, a cloud volume. A disk with a protected cache takes a tenth
LOG_BYTES = 16_100  # per event, received and processed: measured by docs/scaling/log_bytes.py on an old table
VOLUME, FAST_VOLUME = 250e6, 1e9  # bytes a second that the log's volume takes: assumptions, two classes of a cloud
EVENTS = 60_000


class Step(NamedTuple):
    """For each database node: deliveries a second, web processes of a core each, and cores of the database."""

    name: str
    offered: int
    webs: int
    database_cores: int  # 0: it runs on the cores of the web processes
    volume: float = VOLUME
    nodes: int = 1
    database_cpu: float = DATABASE_CPU


STEPS = (
    Step("SQLite, one core", 2_000, 1, 0, database_cpu=SQLITE_CPU),
    Step("the same, too many", 6_000, 1, 0, database_cpu=SQLITE_CPU),
    Step("PostgreSQL on the same 2 cores", 5_000, 2, 0),
    Step("8 web processes, PostgreSQL on 8 cores", 12_000, 8, 8),
    Step("16 web processes, the log's volume too slow", 20_000, 16, 8),
    Step("24 web processes, a fast volume", 40_000, 24, 16, FAST_VOLUME),
    Step("the same, PostgreSQL on 2 cores", 40_000, 24, 2, FAST_VOLUME),
    Step("8 nodes of 8 cores, 8 web processes each", 12_500, 8, 8, nodes=8),
)


class Cores:
    """A machine: jobs take a core, or wait in line."""

    def __init__(self, count: int) -> None:
        self.count, self.free, self.busy = count, count, 0.0
        self.line: deque[tuple[float, Then]] = deque()


class World:
    """What happens when, on one database node and the web processes before it."""

    def __init__(self, step: Step) -> None:
        self.step, self.now, self.groups, self.latencies = step, 0.0, 0, list[float]()
        self._agenda: list[tuple[float, int, Then]] = []
        self.database = Cores(step.database_cores or step.webs)
        self.webs = [Cores(1) if step.database_cores else self.database for _ in range(step.webs)]
        self._waiting = [deque[float]() for _ in range(step.webs)]
        self._committing, self._flushing, self._numbers = [False] * step.webs, False, count()
        self._unflushed: list[tuple[int, list[float]]] = []
        chance, arrival = random.Random(1), 0.0  # noqa: S311
        for _ in range(EVENTS):
            arrival += chance.expovariate(step.offered)
            self._at(arrival, partial(self._arrive, chance.randrange(step.webs)))
        while self._agenda:
            self.now, _, then = heapq.heappop(self._agenda)
            then()

    def _at(self, moment: float, then: Then) -> None:
        heapq.heappush(self._agenda, (moment, next(self._numbers), then))

    def _run(self, cores: Cores, *job: tuple[float, Then]) -> None:
        cores.line += job
        while cores.free and cores.line:
            seconds, then = cores.line.popleft()
            cores.free, cores.busy = cores.free - 1, cores.busy + seconds
            self._at(self.now + seconds, partial(self._ran, cores, then))

    def _ran(self, cores: Cores, then: Then) -> None:
        cores.free += 1
        then()
        self._run(cores)

    def _arrive(self, web: int) -> None:
        self._run(self.webs[web], (APP_CPU, partial(self._was_read, web, self.now)))

    def _was_read(self, web: int, arrival: float) -> None:
        self._waiting[web].append(arrival)
        self._commit(web)

    def _commit(self, web: int) -> None:
        line = self._waiting[web]
        if self._committing[web] or not line:
            return
        group = [line.popleft() for _ in range(min(MOST_AT_ONCE, len(line)))]
        self._committing[web], self.groups = True, self.groups + 1
        cpu = GROUP_CPU + len(group) * self.step.database_cpu
        self._run(self.database, (cpu, partial(self._flush, (web, group))))

    def _flush(self, *more: tuple[int, list[float]]) -> None:
        self._unflushed += more
        if self._unflushed and not self._flushing:
            together, self._unflushed, self._flushing = self._unflushed, [], True
            size = LOG_BYTES * sum(len(group) for _, group in together)
            self._at(self.now + FLUSH + size / self.step.volume, partial(self._was_flushed, together))

    def _was_flushed(self, together: list[tuple[int, list[float]]]) -> None:
        self._flushing = False
        for web, group in together:
            self.latencies += [self.now - arrival for arrival in group]
            self._committing[web] = False
            self._commit(web)
        self._flush()


def simulate(steps: Iterable[Step] = STEPS) -> Iterator[str]:
    """A line for each step."""
    yield "| step | offered/s | acknowledged/s | p50 ms | p99 ms | events/group | web | database | log MB/s |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for step in steps:
        world = World(step)
        late = sorted(world.latencies)
        p50, p99 = (f"{1000 * late[int(len(late) * share)]:.1f}" for share in (0.5, 0.99))
        web, database = (
            f"{fmean(each.busy / each.count for each in cores) / world.now:.0%}"
            for cores in (world.webs, [world.database])
        )
        done = EVENTS / world.now * step.nodes
        yield (
            f"| {step.name} | {step.offered * step.nodes:,} | {done:,.0f} | {p50} | {p99} |"
            f" {EVENTS / world.groups:.1f} | {web} | {database} | {done * LOG_BYTES / 1e6:.0f} |"
        )


if __name__ == "__main__":
    print("\n".join([*simulate(), "", *spread()]))
