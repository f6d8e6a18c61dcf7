"""The same work on FastAPI: verify, parse, mask, seal, then event and audit row in one transaction.

SQLAlchemy's asynchronous engine over asyncpg, statements rather than an ORM session, which would be slower. Each
delivery has a COMMIT to itself. It has no deadline for a database that hangs, and writes no log.
"""

import os

import sqlalchemy as sa
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import create_async_engine

from bench.yardsticks.delivery import REFUSED, audit_row, event_row
from bench.yardsticks.tables import AuditEntry, Event

url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
engine = create_async_engine(url, pool_size=8, max_overflow=0)
insert_event = insert(Event).on_conflict_do_nothing().returning(Event.id)
insert_audit = sa.insert(AuditEntry)
app = FastAPI()


@app.post("/webhooks/senang")
async def receive(request: Request) -> JSONResponse:
    """Take one delivery."""
    try:
        row = event_row(await request.body(), request.headers.get)
    except REFUSED:
        raise HTTPException(401) from None
    async with engine.begin() as connection:
        inbox_id = await connection.scalar(insert_event, row)
        if inbox_id is not None:
            await connection.execute(insert_audit, audit_row(row) | {"inbox_id": inbox_id})
    return JSONResponse({"status": "duplicate" if inbox_id is None else "accepted"})
