"""`python -m bench.drain`: how fast a worker drains a backlog, ours beside other queues, in one run.

Every queue has the same events and does the same effect for each, stated in bench/queues/effect.py, in a database of
its own on one PostgreSQL. The speed is read from the database: events, by the time between the first effect and the
last. Starting up is not in it. Rounds are interleaved and compared in pairs, so that whatever else the machine does
weighs on all alike. An event without its effect, or a job that failed, fails the run.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from bench.pages import migrate
from bench.queues import Queue
from bench.queues.celery_redis import CeleryOnRedis, redis_server
from bench.queues.effect import EFFECTS_SO_FAR, NOTES, ROWS, SECONDS, number
from bench.queues.ours import Ours
from bench.queues.pgqueuer_postgresql import PgQueuer
from bench.queues.procrastinate_postgresql import Procrastinate
from receiver.database.url import ROOT
from receiver.protocol.envelope import DEFAULT_FIELDS
from receiver.sandbox.samples import sample
from tests.receiver.databases import BreakablePostgres

EVENTS = 20_000
ROUNDS = 5
PROCESSES = (1, 2)
EXPECTED = {CeleryOnRedis.name: 6.0, Procrastinate.name: 6.0, PgQueuer.name: 1.1}
"""How many times as fast ours has to be, with as many processes as PROCESSES says last."""
VERSIONS = {CeleryOnRedis.name: "celery", Procrastinate.name: "procrastinate", PgQueuer.name: "pgqueuer"}
SLOWEST = 25
"""Events per second below which a run is given up."""
LOOK_SECONDS = 0.2
STOP_SECONDS = 60
MOST_LOG = 5000


@dataclass(frozen=True)
class Run:
    """One queue drained once."""

    round: int
    processes: int
    queue: str
    per_second: float
    repeated: int
    problems: list[str]


def main() -> None:
    """Measure, print, and exit with 1 when an effect is missing or an expectation is not met."""
    options = _options()
    bodies = [_body(place) for place in range(1, options.events + 1)]
    runs: list[Run] = []
    with TemporaryDirectory(prefix="senang-bench-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        server = _server(stack, Path(folder) / "postgresql")
        (Path(folder) / "redis").mkdir()
        broker = stack.enter_context(redis_server(Path(folder) / "redis"))
        queues: list[Queue] = [Ours(), CeleryOnRedis(broker), Procrastinate(), PgQueuer()]
        chosen = [queue for queue in queues if queue.name in (Ours.name, *options.only)]
        filled = {queue.name: stack.enter_context(_filled(server, queue, bodies)) for queue in chosen}
        for round_ in range(options.rounds):
            for processes in options.processes:
                for queue in chosen[round_ % len(chosen) :] + chosen[: round_ % len(chosen)]:
                    runs.append(_run(server, queue, filled[queue.name], bodies, processes, round_))
                    print(_line(runs[-1]), file=sys.stderr)
    report = Report(runs, options.events, options.rounds, list(options.processes))
    section = report.text(chosen)
    print(section)
    if options.json:
        figures = {"bench": "drain", "section": section, **report.figures()}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(bool(report.failed))


@contextmanager
def _filled(server: BreakablePostgres, queue: Queue, bodies: Sequence[bytes]) -> Iterator[str]:
    """The name of a database with the queue's backlog."""
    with server.migrated("app") as url:
        queue.fill(url, bodies)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        yield make_url(url).database or ""


def _run(
    server: BreakablePostgres, queue: Queue, template: str, bodies: Sequence[bytes], processes: int, round_: int
) -> Run:
    with server.database(template) as url:
        queue.before_run(bodies)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            problems = _drain(queue, url, processes, connection, len(bodies))
            effects, rows = int(number(connection, EFFECTS_SO_FAR)), int(number(connection, ROWS))
            seconds = number(connection, SECONDS)
        if rows != len(bodies):
            problems.append(f"{rows:,} of {len(bodies):,} events had their effect")
        if unfinished := queue.unfinished(url):
            problems.append(f"{unfinished:,} jobs failed or are not known to be done")
        return Run(round_, processes, queue.name, rows / seconds if seconds else 0.0, effects - rows, problems)


def _drain(queue: Queue, url: str, processes: int, connection: psycopg.Connection[Any], events: int) -> list[str]:
    """Let the queue work until every event had its effect or its processes end. Says what went wrong."""
    with TemporaryFile() as log:
        started = [
            subprocess.Popen(  # noqa: S603
                command.arguments,
                env=os.environ | command.environment,
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
            for command in queue.commands(url, processes)
        ]
        try:
            give_up_at = time.monotonic() + STOP_SECONDS + events / SLOWEST
            while number(connection, EFFECTS_SO_FAR) < events and time.monotonic() < give_up_at:
                if all(process.poll() is not None for process in started):
                    break
                time.sleep(LOOK_SECONDS)
            problems = _stop(started, queue)
        finally:
            for process in started:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if problems:
            log.seek(0)
            print(log.read().decode(errors="replace")[-MOST_LOG:], file=sys.stderr)
        return problems


def _stop(started: Sequence[subprocess.Popen[bytes]], queue: Queue) -> list[str]:
    """Let the processes end. Says which did not, or not well."""
    problems = []
    for process in started:
        if not queue.ends_itself:
            process.send_signal(signal.SIGTERM)
    for process in started:
        try:
            if code := process.wait(STOP_SECONDS):
                problems.append(f"exit code {code}")
        except subprocess.TimeoutExpired:
            problems.append("did not end")
    return problems


class Report:
    """What the runs say, for people and for programs."""

    def __init__(self, runs: list[Run], events: int, rounds: int, processes: list[int]) -> None:
        self.runs, self.events, self.rounds, self.processes = runs, events, rounds, processes
        self.problems = [f"{_line(run)}: {'; '.join(run.problems)}" for run in runs if run.problems]
        self.judgements = [self._judgement(name, least) for name, least in EXPECTED.items() if name in self._measured()]

    @property
    def failed(self) -> list[str]:
        """Why the run is not good."""
        return self.problems + [text for good, text in self.judgements if not good]

    def text(self, queues: Sequence[Queue]) -> str:
        """Markdown."""
        kinds = [_processes(count) for count in self.processes]
        lines = [
            f"## Draining a backlog of {self.events:,} events",
            "",
            f"Events per second, and how many times as fast ours is in the same round. Medians of {self.rounds}, in",
            "brackets the lowest and the highest.",
            "",
            f"| | {' | '.join(f'{kind} | ours is' for kind in kinds)} |",
            f"|---|{'---:|---:|' * len(kinds)}",
            *(self._row(queue.name) for queue in queues),
            "",
            *(f"- {'✓' if good else '✗'} {text}" for good, text in self.judgements),
            *(f"- ✗ {problem}" for problem in self.problems),
            *(
                []
                if self.problems
                else [f"- ✓ each event had its effect once in all {len(self.runs)} runs; no job failed"]
            ),
            *(f"- {_line(run)}: {run.repeated:,} effects were tried again" for run in self.runs if run.repeated),
            "",
            "The effect is the same upsert for all, committed in the same PostgreSQL (its defaults, `fsync` on), timed",
            "by its clock from the first effect to the last. Ours unseals, parses, audits and logs each event besides.",
            "",
            *(f"- {queue.name}: {queue.tuning}.{f' {queue.lacks}.' if queue.lacks else ''}" for queue in queues),
        ]
        return "\n".join(lines)

    def figures(self) -> dict[str, object]:
        """Everything that was measured."""
        return {
            "events": self.events,
            "rounds": self.rounds,
            "versions": {name: version(package) for name, package in VERSIONS.items()},
            "runs": [asdict(run) for run in self.runs],
            "ratios": {
                name: {str(count): self._ratios(name, count) for count in self.processes}
                for name in VERSIONS
                if name in self._measured()
            },
            "judgements": [{"good": good, "text": text} for good, text in self.judgements],
            "problems": self.problems,
        }

    def _measured(self) -> set[str]:
        return {run.queue for run in self.runs}

    def _speeds(self, name: str, processes: int) -> list[float]:
        chosen = [run for run in self.runs if run.queue == name and run.processes == processes]
        return [run.per_second for run in sorted(chosen, key=lambda run: run.round)]

    def _ratios(self, name: str, processes: int) -> list[float]:
        pairs = zip(self._speeds(Ours.name, processes), self._speeds(name, processes), strict=True)
        return [ours / other if other else 0.0 for ours, other in pairs]

    def _row(self, name: str) -> str:
        cells = []
        for count in self.processes:
            cells.append(_spread(self._speeds(name, count), ",.0f"))
            cells.append("" if name == Ours.name else _spread(self._ratios(name, count), ".1f", " ×"))
        return f"| {_title(name)} | {' | '.join(cells)} |"

    def _judgement(self, name: str, least: float) -> tuple[bool, str]:
        most = self.processes[-1]
        ratios = self._ratios(name, most)
        text = (
            f"ours, {_processes(most)}: {_spread(ratios, '.2f', ' ×')} as fast as {name}; expected at least {least:g} ×"
        )
        return median(ratios) >= least, text


def _spread(values: Sequence[float], form: str, unit: str = "") -> str:
    return f"{median(values):{form}}{unit} ({min(values):{form}}–{max(values):{form}})"


def _title(name: str) -> str:
    return f"{name} {version(VERSIONS[name])}" if name in VERSIONS else f"**{name}**"


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _line(run: Run) -> str:
    return f"round {run.round + 1}, {_processes(run.processes)}, {run.queue}: {run.per_second:,.0f} per second"


def _body(place: int) -> bytes:
    """A payment of its own for each event, so that every event has an effect to be found."""
    payload = sample("payment.success", fields=DEFAULT_FIELDS, now=datetime.now(UTC), transaction_id=f"TXN-{place:08}")
    if place % 10:
        del payload["data"]["customer"]["email"]  # who has no address gets no receipt
    return json.dumps(payload).encode()


def _server(stack: ExitStack, folder: Path) -> BreakablePostgres:
    server = BreakablePostgres(folder, lambda url, _package: _migrate(url))
    stack.callback(server.stop)
    return server


def _migrate(url: str) -> None:
    migrate(url)
    with psycopg.connect(url) as connection:
        for note in NOTES:
            connection.execute(note)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--processes", type=int, nargs="+", default=PROCESSES)
    parser.add_argument("--only", nargs="+", choices=EXPECTED, default=list(EXPECTED), help="beside ours")
    parser.add_argument("--json", type=Path, help="write the raw figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
