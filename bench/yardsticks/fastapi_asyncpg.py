"""The same work on FastAPI, tuned by hand: asyncpg without SQLAlchemy, one prepared statement, bytes in and bytes out.

The statement inserts event and audit row, and is a transaction by itself. GROUP_COMMIT=1 adds what our own receiver
does: one committer in each process stores whoever waits in one transaction. It has no deadline for a database that
hangs, an event that cannot be stored fails its whole group, and it writes no log.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI, Request, Response

from bench.yardsticks.delivery import REFUSED, event_row

GROUPS = os.environ.get("GROUP_COMMIT") == "1"
CONNECTIONS = 1 if GROUPS else 8
MOST_AT_ONCE = 64
COLUMNS = {
    "seal_id": "uuid",
    "event_id": "text",
    "event_type": "text",
    "occurred_at": "timestamptz",
    "received_at": "timestamptz",
    "due_at": "timestamptz",
    "transaction_id": "text",
    "policy_id": "text",
    "claim_id": "text",
    "reported_status": "text",
    "environment": "text",
    "state": "text",
    "body_digest": "text",
    "sealed_payload": "bytea",
    "sealing_key": "text",
    "masked_payload": "text",
}
"""The columns of `events` in the order in which `event_row()` has them."""
_NAMES = ", ".join(COLUMNS)
_ONE = ", ".join(f"${number}::{kind}" for number, kind in enumerate(COLUMNS.values(), 1))
_MANY = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(COLUMNS.values(), 1))
_ROWS = f"SELECT * FROM unnest({_MANY})" if GROUPS else f"VALUES ({_ONE})"  # noqa: S608 - our own column names
STATEMENT = f"""
    WITH new AS (
        INSERT INTO events ({_NAMES}) {_ROWS} ON CONFLICT DO NOTHING
        RETURNING id, event_id, event_type, received_at, seal_id
    ), audited AS (
        INSERT INTO audit_log (at, action, event_id, event_type, result, inbox_id)
        SELECT received_at, 'delivery', event_id, event_type, 'accepted', id FROM new
    )
    SELECT seal_id FROM new"""  # noqa: S608
Row = dict[str, Any]


class Committer:
    """Stores whoever waits, many in one transaction."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: list[tuple[Row, asyncio.Future[bool]]] = []
        self._arrived = asyncio.Event()

    async def store(self, row: Row) -> bool:
        """Make the row durable. Whether it is new."""
        outcome = asyncio.get_running_loop().create_future()
        self._waiting.append((row, outcome))
        self._arrived.set()
        return bool(await outcome)

    async def run(self) -> None:
        """Take a group, store it, release it; for ever."""
        while True:
            await self._arrived.wait()
            group, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            if not self._waiting:
                self._arrived.clear()
            await self._commit(group)

    async def _commit(self, group: Sequence[tuple[Row, asyncio.Future[bool]]]) -> None:
        group = sorted(group, key=lambda entry: entry[0]["event_id"])  # or two committers could wait for each other
        try:
            stored = await self._pool.fetch(STATEMENT, *zip(*(row.values() for row, _ in group), strict=True))
        except Exception as error:
            for _, outcome in group:
                outcome.set_exception(error)
            return
        new = {record[0] for record in stored}
        for row, outcome in group:
            outcome.set_result(row["seal_id"] in new)


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    """The pool and the committer, for as long as the process serves."""
    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=CONNECTIONS, max_size=CONNECTIONS, reset=_keep
    ) as pool:
        app.state.pool, app.state.committer = pool, Committer(pool)
        task = asyncio.create_task(app.state.committer.run())
        yield
        task.cancel()


async def _keep(_connection: asyncpg.Connection) -> None:
    """Nothing is reset when a connection goes back: it was only used for one statement, and a reset is a round trip."""


app = FastAPI(lifespan=connected)


@app.post("/webhooks/senang", response_model=None)
async def receive(request: Request) -> Response:
    """Take one delivery."""
    try:
        row = event_row(await request.body(), request.headers.get)
    except REFUSED:
        return Response(status_code=401)
    if GROUPS:
        new = await app.state.committer.store(row)
    else:
        new = await app.state.pool.fetchval(STATEMENT, *row.values()) is not None
    return Response(b'{"status":"accepted"}' if new else b'{"status":"duplicate"}', media_type="application/json")
