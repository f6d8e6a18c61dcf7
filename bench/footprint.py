"""`python -m bench.footprint`: how soon a lone `web` formation is ready, and how much memory its processes take.

Start: the time from exec to the first 200 of /readyz, and the CPU that all processes have used by then. Other work on
the machine makes a start late, never early: so the least of several starts is what the code needs.

Memory: PSS (what processes share counts for each by its part), after all events were delivered over HTTP by several
connections and processed. `anonymous` is what Python allocated, `files` are libraries.
"""

import argparse
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from bench.contenders import ENVIRONMENT, PROCESSES
from bench.databases import Database, databases
from bench.load import KEY, SCHEME
from receiver.clock import Clock
from receiver.protocol.envelope import DEFAULT_FIELDS
from receiver.sandbox.samples import TYPES, sample
from receiver.sandbox.sender import Sender
from receiver.testing.waiting import eventually
from tests.receiver.processes import Receiver

SENDERS = 8
_KIND = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Process:
    """One process of the formation. MiB."""

    name: str
    pss: float
    anonymous: float
    files: float


@dataclass
class Footprint:
    """What was found on one kind of database. Seconds, and processes when they were idle and after the load."""

    ready: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    idle: list[Process] = field(default_factory=list)
    loaded: list[Process] = field(default_factory=list)


def main() -> None:
    """Measure on each kind of database and print what came out."""
    options = _options()
    found = {}
    with TemporaryDirectory(prefix="senang-bench-", ignore_cleanup_errors=True) as folder:
        for kind in options.databases:
            with databases(kind, 1, Path(folder)) as (database,):
                found[kind] = _measure(kind, database, options.starts, options.events)
            print(_report(kind, found[kind], options.events), flush=True)
    if options.json:
        options.json.write_text(json.dumps({kind: asdict(each) for kind, each in found.items()}, indent=1))


def _measure(kind: str, database: Database, starts: int, events: int) -> Footprint:
    footprint = Footprint()
    for _ in range(starts):
        with _started(kind, database) as (_, root, seconds):
            footprint.ready.append(seconds)
            footprint.cpu.append(sum(sum(process.cpu_times()[:2]) for process in _tree(root)))
    with _started(kind, database) as (receiver, root, _):
        eventually(lambda: len(_tree(root)) == 3 + PROCESSES[kind])  # the master, and the worker's parent and child
        time.sleep(2)  # the worker's first turns
        footprint.idle = _processes(root)
        _deliver(receiver, events)
        eventually(lambda: database.pending() == 0)
        footprint.loaded = _processes(root)
    return footprint


@contextmanager
def _started(kind: str, database: Database) -> Iterator[tuple[Receiver, int, float]]:
    """A receiver that is ready, the root of its processes, and the seconds that it took. It is stopped at the end."""
    environment = ENVIRONMENT | {"DATABASE_URL": database.url, "WEB_CONCURRENCY": str(PROCESSES[kind])}
    receiver = Receiver(environment)
    began = time.monotonic()
    process = receiver.start("-m", "gunicorn", "wsgi:app")
    try:
        while receiver.status("/readyz") != 200:
            time.sleep(0.01)
        yield receiver, process.pid, time.monotonic() - began
    finally:
        process.terminate()
        process.wait()
        receiver.stop()


def _deliver(receiver: Receiver, events: int) -> None:
    sender = Sender(receiver.url, SCHEME, KEY, Clock())

    def deliver(number: int) -> bool:
        kind = TYPES[number % len(TYPES)]
        payload = sample(kind, fields=DEFAULT_FIELDS, now=sender.clock.now())
        return sender.deliver_until_accepted(payload).accepted

    with ThreadPoolExecutor(SENDERS) as pool:
        refused = sum(not accepted for accepted in pool.map(deliver, range(events)))
    if refused:
        raise ConnectionError(f"{refused} of {events} deliveries were not accepted")


def _tree(root: int) -> list[psutil.Process]:
    process = psutil.Process(root)
    return [process, *process.children(recursive=True)]


def _processes(root: int) -> list[Process]:
    """By what each is: the master's children are web workers but for one, and that one has a child."""
    found = []
    for process in _tree(root):
        parents = len(process.parents()) - len(psutil.Process(root).parents())
        name = "master" if not parents else "worker" if parents > 1 else "worker's parent"
        if parents == 1 and not process.children():
            name = "web"
        sizes = {kind: int(size) / 1024 for kind, size in _KIND.findall(_rollup(process.pid))}
        found.append(Process(name, sizes["Pss"], sizes["Pss_Anon"], sizes["Pss_File"]))
    return found


def _rollup(pid: int) -> str:
    return Path(f"/proc/{pid}/smaps_rollup").read_text()


def _report(kind: str, found: Footprint, events: int) -> str:
    lines = [
        f"{kind}, {PROCESSES[kind]} web:",
        f"  ready after {min(found.ready):.2f} s at best, {median(found.ready):.2f} s in the median of "
        f"{len(found.ready)} starts; {min(found.cpu):.2f} s of CPU",
    ]
    for title, processes in (("idle", found.idle), (f"after {events:,} events", found.loaded)):
        lines.append(f"  PSS {title}: {sum(process.pss for process in processes):.0f} MiB")
        lines += [
            f"    {process.name:<16}{process.pss:6.0f}   anonymous {process.anonymous:4.0f}, files {process.files:4.0f}"
            for process in processes
        ]
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.footprint", description=__doc__)
    parser.add_argument("--databases", nargs="+", choices=list(PROCESSES), default=sorted(PROCESSES, reverse=True))
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--json", type=Path, help="where the raw figures go")
    return parser.parse_args()


if __name__ == "__main__":
    main()
