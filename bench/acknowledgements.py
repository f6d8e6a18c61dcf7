"""`python -m bench.acknowledgements`: how many deliveries a second each receiver acknowledges, all in the same rounds.

All are up from the beginning to the end, and a receiver that nobody sends to costs nothing. A round has each of them
loaded once, one after the other, so that whatever else the machine does in a minute weighs on all alike; what is
compared are figures of the same round. A round in which an answer was no 2xx, or in which fewer rows were stored than
deliveries acknowledged, ends the run: then there is nothing to compare.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.contenders import CONTENDERS, PROCESSES, Contender, started
from bench.databases import Database, databases, postgresql_version
from bench.load import SENDERS, NotAllAcknowledged, PoolUsedUp, Result, body_bytes, deliver, write_pool
from bench.machine import cpu_seconds, describe, peak_mebibytes
from bench.measured import Conditions, Field, Measured
from bench.pgbench import transactions_per_second
from bench.verdict import section, table
from tests.receiver.processes import Receiver

WARM_UP_SECONDS = 2
FIRST_POOL = 20_000
SPARE = 1.6
"""How many times the deliveries of the warm-up a pool holds."""
TRIES = 3


class Lost(Exception):
    """A delivery was acknowledged and is not in the database."""


@dataclass
class Standing:
    """A receiver that is up, and how fast it was last."""

    contender: Contender
    receiver: Receiver
    root: int
    database: Database
    per_second: float = 0.0


def main() -> None:
    """Measure both databases, print the section and keep the raw figures."""
    options = _options()
    if not shutil.which("wrk"):
        sys.exit("The load comes from wrk: apt-get install wrk")
    with TemporaryDirectory(prefix="senang-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        fields, machine = {}, {}
        for kind in CONTENDERS:
            with databases(kind, len(CONTENDERS[kind]) + (kind == "postgresql"), folder) as found:
                if kind == "postgresql":
                    machine = describe(folder, postgresql_version(found[0].url))
                fields[kind] = measure(kind, found, folder, options.rounds, options.seconds)
    conditions = Conditions(options.rounds, options.seconds, SENDERS, body_bytes(), PROCESSES)
    text = section(fields, conditions)
    print(text)
    if options.json:
        raw = {kind: asdict(field) for kind, field in fields.items()}
        document: dict[str, Any] = {"machine": machine, "conditions": asdict(conditions), "raw": raw}
        document |= {"section": text, "table": table(fields)}
        options.json.write_text(json.dumps(document, indent=1))


def measure(kind: str, found: Sequence[Database], folder: Path, rounds: int, seconds: int) -> Field:
    """All rounds on one kind of database."""
    field, pool = Field(), folder / "pool"
    with _all_up(kind, found, folder) as standing:
        for each in standing:
            each.per_second = FIRST_POOL / WARM_UP_SECONDS / SPARE
            _measure_one(each, pool, WARM_UP_SECONDS)
        for number in range(1, rounds + 1):
            for each in standing:
                measured = _measure_one(each, pool, seconds)
                field.rounds.setdefault(each.contender.name, []).append(measured)
                print(f"{kind}, round {number}: {each.contender.name}: {measured.result.per_second:,.0f}/s", flush=True)
            if kind == "postgresql":
                found[-1].checkpoint()
                field.pgbench.append(transactions_per_second(found[-1].url, seconds))
        field.mebibytes = {each.contender.name: peak_mebibytes(each.root) for each in standing}
    return field


@contextmanager
def _all_up(kind: str, found: Sequence[Database], folder: Path) -> Iterator[list[Standing]]:
    with ExitStack() as stack:
        standing = []
        for contender, database in zip(CONTENDERS[kind], found, strict=False):
            receiver, root = stack.enter_context(started(contender, kind, database.url, folder))
            standing.append(Standing(contender, receiver, root, database))
        yield standing


def _measure_one(each: Standing, pool: Path, seconds: int) -> Measured:
    """One receiver under load. Where it outruns the pool it is asked again with a larger one."""
    for _ in range(TRIES):
        write_pool(pool, int(each.per_second * seconds * SPARE) + SENDERS)
        try:
            return _loaded(each, pool, seconds)
        except PoolUsedUp:
            each.per_second *= 2
        except NotAllAcknowledged as error:
            error.add_note(each.contender.name)
            raise
    raise PoolUsedUp(each.contender.name)


def _loaded(each: Standing, pool: Path, seconds: int) -> Measured:
    database = each.database
    database.checkpoint()
    last = database.last_row()
    before = _cpu(each)
    result = deliver(each.receiver.port, pool, seconds)
    after = _cpu(each)
    _check_rows(each, database.rows_after(last), result)
    each.per_second = max(each.per_second / SPARE, result.per_second)
    return Measured(result, after[0] - before[0], after[1] - before[1])


def _cpu(each: Standing) -> tuple[float, float]:
    server = each.database.server
    return cpu_seconds(each.root), cpu_seconds(server) if server and each.contender.stores else 0.0


def _check_rows(each: Standing, rows: int, result: Result) -> None:
    if each.contender.stores and rows < result.acknowledged:
        raise Lost(f"{each.contender.name} acknowledged {result.acknowledged} deliveries and stored {rows}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.acknowledgements", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=5, help="how long each receiver is loaded in a round")
    parser.add_argument("--json", type=Path, help="where the raw figures go")
    return parser.parse_args()


if __name__ == "__main__":
    main()
