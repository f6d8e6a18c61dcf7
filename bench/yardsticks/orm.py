"""The careful receiver on Flask and an ORM session: verify, parse, mask, seal, add event and audit row, commit.

The unique index decides what is a duplicate. Each delivery has a transaction and a COMMIT to itself. It has no deadline
for a database that hangs, and writes no log.
"""

import os

import sqlalchemy as sa
from flask import Flask, abort, request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import sessionmaker

from bench.yardsticks.delivery import REFUSED, audit_row, event_row
from bench.yardsticks.tables import AuditEntry, Event

url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
sessions = sessionmaker(sa.create_engine(url, pool_size=16, max_overflow=0), expire_on_commit=False)
app = Flask(__name__)


@app.post("/webhooks/senang")
def receive() -> dict[str, str]:
    """Take one delivery."""
    try:
        row = event_row(request.get_data(), request.headers.get)
    except REFUSED:
        abort(401)
    with sessions() as session:
        event = Event(**row)
        session.add(event)
        try:
            session.flush()
            session.add(AuditEntry(**audit_row(row), inbox_id=event.id))
            session.commit()
        except IntegrityError:
            return {"status": "duplicate"}
    return {"status": "accepted"}
