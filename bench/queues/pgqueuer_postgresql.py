"""PgQueuer: jobs in PostgreSQL, fetched and settled in batches, run concurrently by an event loop.

Of batches from 50 to 2,000 and of 10 to 40 connections these were the fastest; uvloop runs them.

What it lacks: effects commit one by one, but that a job is done is written later, for a batch, in another
transaction: a worker that dies in between repeats up to a batch of effects. A job that is done is deleted and leaves
a line in its log, without its payload. Its jobs hold the payload in clear.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import psycopg
import uvloop
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from bench.queues import Command
from bench.queues.effect import FOR_ASYNCPG, number, values_of

BATCH = 1000
CONNECTIONS = 20
DATABASE = "BENCH_DATABASE"
AT_ONCE = 1000
ENTRYPOINT = "payment_success"


class PgQueuer:
    """PgQueuer's worker, once for each process."""

    name = "PgQueuer"
    tuning = f"`batch_size={BATCH}`, asyncpg, {CONNECTIONS} connections in each process for the handlers, uvloop"
    lacks = "Not in the effect's transaction: it can repeat a batch of effects; payloads in clear"
    ends_itself = True

    def fill(self, url: str, bodies: Sequence[bytes]) -> None:
        asyncio.run(_fill(url, bodies))

    def before_run(self, bodies: Sequence[bytes]) -> None:
        pass

    def commands(self, url: str, processes: int) -> list[Command]:
        return [Command((sys.executable, "-m", __name__), {DATABASE: url})] * processes

    def unfinished(self, url: str) -> int:
        with psycopg.connect(url) as connection:
            left = number(connection, "SELECT count(*) FROM pgqueuer")
            failed = "SELECT count(*) FROM pgqueuer_log WHERE status IN ('exception', 'canceled', 'failed')"
            return int(left + number(connection, failed))


async def _fill(url: str, bodies: Sequence[bytes]) -> None:
    async with asyncpg.create_pool(url, min_size=1, max_size=2) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))
        await queries.install()
        for start in range(0, len(bodies), AT_ONCE):
            batch: list[bytes | None] = list(bodies[start : start + AT_ONCE])
            await queries.enqueue([ENTRYPOINT] * len(batch), batch, [0] * len(batch))


async def work(url: str) -> None:
    """Drain the backlog."""
    async with (
        asyncpg.create_pool(url, min_size=2, max_size=4) as own,
        asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool,
    ):
        manager = QueueManager(Queries(AsyncpgPoolDriver(own)))

        @manager.entrypoint(ENTRYPOINT)
        async def payment_success(job: Job) -> None:
            values = values_of(json.loads(job.payload or b""))
            async with pool.acquire() as connection:
                await connection.execute(FOR_ASYNCPG, *values)

        await manager.run(dequeue_timeout=timedelta(seconds=1), batch_size=BATCH, mode=QueueExecutionMode.drain)


if __name__ == "__main__":
    uvloop.run(work(os.environ[DATABASE]))
