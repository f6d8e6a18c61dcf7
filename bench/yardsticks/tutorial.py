"""The receiver of most tutorials: verify, look for the ID, insert, run the handler, commit, answer 200.

It does not encrypt, mask or audit, a slow handler delays its answer, and two copies of an event that come at once make
one of them a 500.
"""

import base64
import hashlib
import hmac
import json
import os
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from flask import Flask, abort, request
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from bench.yardsticks.tables import Event, Payment

SECRET = base64.b64decode(os.environ["SENANG_WEBHOOK_SECRETS"].removeprefix("whsec_"))
url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
sessions = sessionmaker(sa.create_engine(url, pool_size=16, max_overflow=0))
app = Flask(__name__)


@app.post("/webhooks/senang")
def receive() -> dict[str, str]:
    """Take one delivery."""
    body = request.get_data()
    if not is_authentic(body):
        abort(401)
    payload = json.loads(body)
    with sessions() as session:
        if session.scalar(sa.select(Event).where(Event.event_id == payload["event_id"])):
            return {"status": "duplicate"}
        session.add(stored(body, payload))
        record_payment(session, payload)
        session.commit()
    return {"status": "accepted"}


def is_authentic(body: bytes) -> bool:
    """Whether the signature is right."""
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(SECRET, signed, "sha256")).decode()
    return hmac.compare_digest(f"v1,{expected}", request.headers["webhook-signature"])


def stored(body: bytes, payload: dict[str, Any]) -> Event:
    """The event with its body as it came."""
    return Event(
        seal_id=uuid4(),
        event_id=payload["event_id"],
        event_type=payload["event_type"],
        occurred_at=datetime.fromisoformat(payload["timestamp"]),
        received_at=datetime.now(UTC),
        transaction_id=payload["transaction_id"],
        policy_id=payload["policy_id"],
        reported_status=payload["status"],
        environment="sandbox",
        state="processed",
        body_digest=hashlib.sha256(body).hexdigest(),
        sealed_payload=body,
    )


def record_payment(session: Session, payload: dict[str, Any]) -> None:
    """The handler."""
    values = {
        "status": payload["status"],
        "rank": 1,
        "occurred_at": datetime.fromisoformat(payload["timestamp"]),
        "event_id": payload["event_id"],
    }
    statement = insert(Payment).values(reference=payload["transaction_id"], **values)
    session.execute(statement.on_conflict_do_update(index_elements=["reference"], set_=values))
