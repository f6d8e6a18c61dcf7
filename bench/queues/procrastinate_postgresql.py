"""Procrastinate: jobs in PostgreSQL, fetched one at a time by a function in the database.

A sync task in its threads, each with a connection, is what was fastest of sync and async, of 5 to 40 at once, with and
without deleting jobs that are done. uvloop runs the rest.

What it lacks: the job is in the same database as the effect, but not in the same transaction, so a worker that dies
between the two repeats the effect, or leaves the job stalled until somebody looks. Its jobs hold the payload in clear.
"""

import json
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

import psycopg
import uvloop
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from bench.queues import Command
from bench.queues.effect import FOR_PSYCOPG, number, values_of

CONCURRENCY = 20
DATABASE = "BENCH_DATABASE"
AT_ONCE = 1000
TASK = "payment.success"

if DATABASE in os.environ:
    uvloop.install()
app = App(connector=PsycopgConnector(conninfo=os.environ.get(DATABASE, ""), max_size=CONCURRENCY + 2))
_here = threading.local()


@app.task(name=TASK)
def payment_success(payload: dict[str, Any]) -> None:
    """The money is there."""
    if not hasattr(_here, "connection"):
        _here.connection = psycopg.connect(os.environ[DATABASE], autocommit=True, prepare_threshold=0)
    _here.connection.execute(FOR_PSYCOPG, values_of(payload))


class Procrastinate:
    """Procrastinate's worker, once for each process."""

    name = "Procrastinate"
    tuning = f"a sync task (faster here than an async one), `concurrency={CONCURRENCY}` in each process, uvloop"
    lacks = "Not in the effect's transaction: it can repeat an effect; payloads in clear"
    ends_itself = True

    def fill(self, url: str, bodies: Sequence[bytes]) -> None:
        filling = App(connector=SyncPsycopgConnector(conninfo=url))
        task = filling.configure_task(TASK)
        with filling.open():
            filling.schema_manager.apply_schema()
            for start in range(0, len(bodies), AT_ONCE):
                task.batch_defer(*({"payload": json.loads(body)} for body in bodies[start : start + AT_ONCE]))

    def before_run(self, bodies: Sequence[bytes]) -> None:
        pass

    def commands(self, url: str, processes: int) -> list[Command]:
        arguments = (
            *(sys.executable, "-m", "procrastinate", f"--app={__name__}.app", "worker"),
            *("--one-shot", f"--concurrency={CONCURRENCY}"),
        )
        return [Command(arguments, {DATABASE: url})] * processes

    def unfinished(self, url: str) -> int:
        with psycopg.connect(url) as connection:
            return int(number(connection, "SELECT count(*) FROM procrastinate_jobs WHERE status <> 'succeeded'"))
