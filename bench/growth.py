"""`python -m bench.growth`: what becomes slower when there are more events, from ten thousand to five million.

Asked on databases of each size side by side: everything that a page asks (bench/questions.py), what receiving and
leasing ask, and how many new events a second fit in. Rounds are interleaved and compared in pairs, so that whatever
else the machine does weighs on all sizes alike. A statement that scans, or takes up what grows with the table, fails
the run, and so does a large database that takes new events more slowly than LEAST_OF_SMALLEST allows.

The databases are filled by bench/fill.py. New events are written by the receiver's own store, in groups.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import psycopg
import sqlalchemy as sa

from bench.fill import fill_engine
from bench.pages import LIMIT, PLANNERS, filled_inbox, migrate
from bench.plans import complaints, unseen_complaints
from bench.questions import questions
from receiver.database.engine import reading
from receiver.ingest.arrivals import Arrival
from receiver.ingest.intake import arrival_store
from receiver.ingest.rows import Delivery, Rows
from receiver.protocol.envelope import Event
from receiver.protocol.kept import Kept
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import State
from receiver.store.models import StoredEvent
from receiver.worker.leases import Lease, hand_back, lease_due
from receiver.worker.workbench import Workbench
from tests.receiver.databases import BreakablePostgres

SIZES = {"postgresql": (10_000, 1_000_000, 5_000_000), "sqlite": (10_000, 1_000_000)}
ROUNDS = 15
CHUNKS = 31
WARM_UP = 0.05
"""Of a database's size so many events come before the rate is judged: most pages of the indexes have been changed then,
once since the checkpoint, and need not be logged as a whole again until the next."""
GROUPS_IN_A_CHUNK = 20
GROUP = 16
SEALED_BYTES = 900
KNOWN = 500
LEAST_OF_SMALLEST = 0.85
"""Of the new events per second that the smallest PostgreSQL database takes, the largest has to take this much."""
POSTGRESQL = {
    "shared_buffers": "4GB",
    "effective_cache_size": "12GB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "30min",
    "random_page_cost": "1.1",
    "autovacuum": "off",
}
"""A server as one would set it up for millions of rows; but VACUUM ANALYZE runs before the measuring, not during it."""

PAGES_LOGGED_WHOLE = (
    "After a checkpoint PostgreSQL logs a page as a whole when it is first changed. IDs at random change a page each",
    "in a large index, so there it takes a while until that is over. The rate is judged when it is.",
    "",
)

Timed = tuple[Callable[[], Any], Callable[[], Any]]
"""What is timed, and what puts things back afterwards."""
Times = dict[str, list[list[float]]]
"""For each question a row for each round: milliseconds at each size."""


@dataclass
class Filled:
    """One database with its inbox."""

    url: str
    inbox: Inbox
    size: int
    fill_seconds: float
    sum_seconds: float


@dataclass
class Found:
    """What was measured and judged on one kind of database."""

    kind: str
    databases: list[Filled]
    pages: Times = field(default_factory=dict)
    traffic: Times = field(default_factory=dict)
    inserted_at_first: list[list[float]] = field(default_factory=list)
    """For each chunk right after a checkpoint: new events per second at each size."""
    inserted: list[list[float]] = field(default_factory=list)
    """The same after the warm-up."""
    bad_plans: list[str] = field(default_factory=list)


def main() -> None:
    """Measure, print, and exit with 1 when a plan is bad or new events are taken too slowly."""
    options = _options()
    found: list[Found] = []
    with TemporaryDirectory(prefix="senang-bench-", ignore_cleanup_errors=True) as folder:
        for kind in options.databases:
            sizes = sorted(options.sizes or SIZES[kind])
            with _databases(kind, Path(folder), len(sizes)) as urls:
                found.append(Found(kind, [_filled(url, size) for url, size in zip(urls, sizes, strict=True)]))
                _measure(found[-1], options.rounds, options.chunks)
    reports = [Report(each) for each in found]
    section = "\n".join(["## What grows with the number of events", "", *(report.text() for report in reports)])
    print(section)
    if options.json:
        figures = {"bench": "growth", "section": section, "databases": [report.figures() for report in reports]}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(not all(good for report in reports for good, _ in report.judgements()))


class Traffic:
    """What deliveries and workers ask of one database."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox, self._bench = inbox, Workbench(inbox, "bench")
        self._known = cycle(_known(inbox))
        self._leases: list[Lease] = []
        self.store = arrival_store(inbox)

    def timed(self) -> dict[str, Timed]:
        """Each by its name."""
        return {
            "receive a new event": (self.receive, _nothing),
            "find that an event is known": (self.receive_known, _nothing),
            "count a duplicate": (self.count_duplicate, _nothing),
            "lease a batch; 0.5 % of all are due": (self.lease, self.hand_back),
        }

    def receive(self) -> None:
        """A delivery of a new event, alone in its transaction."""
        self.expect([True], [arrival()])

    def receive_known(self) -> None:
        """A delivery of an event that was received before: the unique index says so."""
        self.expect([False], [arrival(next(self._known))])

    def expect(self, news: Sequence[bool], arrivals: Sequence[Arrival]) -> None:
        """Store them. What the store says of them has to be as expected."""
        if list(self.store.store(arrivals)) != list(news):
            raise AssertionError("the store takes what is new for known, or what is known for new")

    def count_duplicate(self) -> None:
        """What follows for a duplicate."""
        event_id = next(self._known)
        event = _event(event_id)
        Rows(self._inbox, Delivery(Kept(b"{}"), uuid4().hex)).receive_again(event)

    def lease(self) -> None:
        """What a worker does for each batch."""
        self._leases = lease_due(self._bench)
        if not self._leases:
            raise AssertionError("events were to be due")

    def hand_back(self) -> None:
        """Let the next round lease the same."""
        hand_back(self._inbox, self._leases)

    def close(self) -> None:
        """Give all connections up."""
        self.store.close()
        self._inbox.engine.dispose()


def arrival(event_id: str | None = None) -> Arrival:
    """An event of a realistic size, with random IDs."""
    number = random.randrange(10**9)  # noqa: S311 - made-up data, nothing secret
    return Arrival(
        seal_id=uuid4(),
        body_digest=f"k1234567:{os.urandom(32).hex()}",
        sealed_payload=os.urandom(SEALED_BYTES),
        event_id=event_id or f"evt_{uuid4().hex}",
        event_type="payment.success",
        occurred_at=datetime.now(UTC),
        transaction_id=f"TXN-{number}",
        policy_id=f"POL-{number}",
        claim_id=None,
        reported_status="paid",
        request_id=uuid4().hex,
        duration_ms=1,
        detail=None,
    )


def _event(event_id: str) -> Event:
    return Event(
        id=event_id,
        type="payment.success",
        occurred_at=datetime.now(UTC),
        transaction_id=None,
        policy_id=None,
        claim_id=None,
        status=None,
        data={},
        payload={},
    )


def _known(inbox: Inbox) -> list[str]:
    """IDs from all over the table."""
    with reading(inbox.engine) as session:
        last = session.scalar(sa.select(sa.func.max(StoredEvent.id))) or 0
        chosen = random.sample(range(1, last + 1), min(KNOWN, last))
        query = sa.select(StoredEvent.event_id).where(
            StoredEvent.id.in_(chosen), StoredEvent.state == State.PROCESSED, StoredEvent.event_id.is_not(None)
        )
        return [event_id for event_id in session.scalars(query) if event_id]


def _nothing() -> None:
    pass


def _measure(found: Found, rounds: int, chunks: int) -> None:
    inboxes = [database.inbox for database in found.databases]
    traffic = [Traffic(inbox) for inbox in inboxes]
    found.bad_plans = _judged(found.kind, inboxes[-1], traffic[-1])
    asked = [{name: (ask, _nothing) for name, ask in questions(inbox).items()} for inbox in inboxes]
    found.pages = _timed(asked, rounds)
    found.traffic = _timed([each.timed() for each in traffic], 3 * rounds)
    chunk = [partial(_chunk, each) for each in traffic]
    _settle(found)
    found.inserted_at_first = _rounds(chunk, chunks)
    for database, ask in zip(found.databases, chunk, strict=True):
        for _ in range(round(database.size * WARM_UP / (GROUP * GROUPS_IN_A_CHUNK))):
            ask()
    found.inserted = _rounds(chunk, chunks)
    for each in traffic:
        each.close()


def _settle(found: Found) -> None:
    """Begin with a checkpoint: from there on PostgreSQL logs a page as a whole when it is first changed."""
    if found.kind == "postgresql":
        with fill_engine(found.databases[0].url).connect() as connection:
            connection.exec_driver_sql("CHECKPOINT")


def _judged(kind: str, inbox: Inbox, traffic: Traffic) -> list[str]:
    """What is wrong with the plans on the largest database."""
    asked: dict[str, Timed] = {name: (ask, _nothing) for name, ask in questions(inbox).items()}
    problems = []
    for planner in PLANNERS[kind]:
        for name, (ask, afterwards) in (asked | traffic.timed()).items():
            problems += [f"{name}: {problem}" for problem in complaints(inbox.engine, ask, planner=planner)]
            afterwards()
    for name, ask in (("receive a new event", traffic.receive), ("find that an event is known", traffic.receive_known)):
        traffic.store.close()
        problems += [f"{name}: {problem}" for problem in unseen_complaints(inbox.engine, ask, traffic.store.close)]
    return list(dict.fromkeys(" ".join(problem.split()) for problem in problems))


def _timed(asked: Sequence[dict[str, Timed]], rounds: int) -> Times:
    """Once unmeasured, then so many rounds through all sizes."""
    return {name: _rounds([partial(_milliseconds, *each[name]) for each in asked], rounds + 1)[1:] for name in asked[0]}


def _rounds(measured: Sequence[Callable[[], float]], rounds: int) -> list[list[float]]:
    """Everyone in every round, and every round begins with another."""
    table = [[0.0] * len(measured) for _ in range(rounds)]
    for number, row in enumerate(table):
        for step in range(len(measured)):
            place = (number + step) % len(measured)
            row[place] = measured[place]()
    return table


def _milliseconds(ask: Callable[[], Any], afterwards: Callable[[], Any]) -> float:
    started = time.perf_counter()
    ask()
    taken = time.perf_counter() - started
    afterwards()
    return taken * 1000


def _chunk(traffic: Traffic) -> float:
    """New events per second, over a few groups."""
    groups = [[arrival() for _ in range(GROUP)] for _ in range(GROUPS_IN_A_CHUNK)]
    started = time.perf_counter()
    for group in groups:
        traffic.expect([True] * GROUP, group)
    return GROUP * GROUPS_IN_A_CHUNK / (time.perf_counter() - started)


class Report:
    """What was found on one kind of database, for people and for programs."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.sizes = [database.size for database in found.databases]

    def judgements(self) -> list[tuple[bool, str]]:
        """Whether each expectation is met, in words."""
        ratio = _ratio(self.found.inserted)
        spread = f"{ratio[1]:.2f} × ({ratio[0]:.2f}–{ratio[2]:.2f})"
        text = f"new events at {self.sizes[-1]:,}: {spread} as fast as at {self.sizes[0]:,}"
        bad = self.found.bad_plans
        judged = [(False, problem) for problem in bad] or [(True, "every statement is answered from an index")]
        if self.found.kind == "postgresql":
            return [*judged, (ratio[1] >= LEAST_OF_SMALLEST, f"{text}; expected at least {LEAST_OF_SMALLEST:g} ×")]
        return [*judged, (True, f"{text} (no expectation)")]

    def text(self) -> str:
        """Markdown."""
        name, at_first, why = "SQLite", "at first", tuple[str, ...]()
        if self.found.kind == "postgresql":
            name, at_first, why = "PostgreSQL", "right after a checkpoint", PAGES_LOGGED_WHOLE
        return "\n".join(
            [
                f"### {name}",
                "",
                *self._preparations(),
                "",
                f"| milliseconds, medians | {' | '.join(f'{size:,}' for size in self.sizes)} | ratio |",
                f"|---|{'---:|' * len(self.sizes)}---:|",
                *(_row(name, rows) for name, rows in self.found.traffic.items()),
                *(_row(f"page: {name}", rows) for name, rows in self._kinds_of_questions().items()),
                "",
                "The ratio is of the largest to the smallest, in pairs: median (and middle half) of the rounds, for a",
                f"page of all its questions. {self._slower()}",
                "",
                f"| new events per second, {GROUP} at once | {' | '.join(f'{size:,}' for size in self.sizes)} |",
                f"|---|{'---:|' * len(self.sizes)}",
                f"| {at_first} | {_speeds(self.found.inserted_at_first)} |",
                f"| after {WARM_UP:.0%} more events | {_speeds(self.found.inserted)} |",
                "",
                *why,
                *(f"- {'✓' if good else '✗'} {text}" for good, text in self.judgements()),
                "",
            ]
        )

    def figures(self) -> dict[str, object]:
        """Everything that was measured."""
        return {
            "kind": self.found.kind,
            "sizes": self.sizes,
            "settings": POSTGRESQL if self.found.kind == "postgresql" else {},
            "fill_seconds": [database.fill_seconds for database in self.found.databases],
            "sum_seconds": [database.sum_seconds for database in self.found.databases],
            "pages_milliseconds": self.found.pages,
            "traffic_milliseconds": self.found.traffic,
            "inserted_per_second_at_first": self.found.inserted_at_first,
            "inserted_per_second": self.found.inserted,
            "insert_ratio": _ratio(self.found.inserted)[1],
            "judgements": [{"good": good, "text": text} for good, text in self.judgements()],
        }

    def _preparations(self) -> Iterator[str]:
        for database in self.found.databases:
            yield (
                f"- {database.size:,} events and twice as many audit rows: filled in {database.fill_seconds:.0f} s,"
                f" their hourly sums made in {database.sum_seconds:.0f} s"
            )
        if self.found.kind == "postgresql":
            settings = ", ".join(f"`{name} = {value}`" for name, value in POSTGRESQL.items())
            yield f"- Server: {settings}; else its defaults"

    def _kinds_of_questions(self) -> dict[str, list[list[float]]]:
        """The questions of bench/questions.py under the first word of their names; each one row: its medians."""
        kinds: dict[str, list[list[float]]] = {}
        for name, rows in self.found.pages.items():
            kinds.setdefault(name.partition(":")[0], []).append([median(column) for column in zip(*rows, strict=True)])
        return kinds

    def _slower(self) -> str:
        ratios = [(_ratio(rows)[1], name) for name, rows in (self.found.pages | self.found.traffic).items()]
        named = ", ".join(f"{name} ({ratio:.1f} ×)" for ratio, name in sorted(ratios, reverse=True) if ratio > LIMIT)
        return f"Questions above {LIMIT:g} ×: {named}." if named else f"No question is above {LIMIT:g} ×."


def _speeds(chunks: list[list[float]]) -> str:
    return " | ".join(f"{median(column):,.0f}" for column in zip(*chunks, strict=True))


def _row(name: str, rows: list[list[float]]) -> str:
    medians = [f"{median(column):.2f}" for column in zip(*rows, strict=True)]
    low, middle, high = _ratio(rows)
    return f"| {name} | {' | '.join(medians)} | {middle:.2f} ({low:.2f}–{high:.2f}) |"


def _ratio(rows: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """The largest size's figure to the smallest's, in pairs: the lower quartile, the median, the upper quartile."""
    ratios = [row[-1] / row[0] for row in rows]
    if len(ratios) == 1:
        return ratios[0], ratios[0], ratios[0]
    lower, middle, upper = quantiles(ratios, n=4, method="inclusive")
    return lower, middle, upper


@contextmanager
def _databases(kind: str, folder: Path, number: int) -> Iterator[list[str]]:
    """The URLs of so many empty, migrated databases."""
    with ExitStack() as stack:
        if kind == "sqlite":
            urls = [f"sqlite:///{folder / str(place)}.db" for place in range(number)]
            for url in urls:
                migrate(url)
        else:
            server = BreakablePostgres(folder / "postgresql", lambda url, _package: migrate(url))
            stack.callback(server.stop)
            _configure(server)
            urls = [stack.enter_context(server.migrated("app")) for _ in range(number)]
        yield urls


def _configure(server: BreakablePostgres) -> None:
    with server.database("template1") as url, psycopg.connect(url, autocommit=True) as connection:
        for name, value in POSTGRESQL.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    server.kill()
    server.start()


def _filled(url: str, size: int) -> Filled:
    inbox, filling, summing = filled_inbox(url, size)
    return Filled(url, inbox, size, filling, summing)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--databases", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--sizes", type=int, nargs="+", help="small ones are rightly scanned")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="for each question of a page; thrice for the others")
    parser.add_argument("--chunks", type=int, default=CHUNKS, help=f"of {GROUP * GROUPS_IN_A_CHUNK} new events")
    parser.add_argument("--json", type=Path, help="write the raw figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
