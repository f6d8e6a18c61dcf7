"""How outcomes are settled: many events and their audit rows at once, in the transaction of their handlers' writes.

`settle()` settles events only if all of them are still leased with exactly this token. Otherwise it settles none.

The outcomes travel as one parameter, a JSON array, so that the statement is the same for any number of them: it is
prepared once, and the driver converts one value instead of hundreds.
"""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy.engine import Connection

from receiver.database.now import PLACEHOLDER, database_now_sql
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import State, checked
from receiver.worker.attempt import Outcome

_AUDITED = {
    "inbox_id": "bigint",
    "event_id": "text",
    "event_type": "text",
    "result": "text",
    "actor": "text",
    "duration_ms": "integer",
    "detail": "text",
}
_OUTCOME = _AUDITED | {
    "state": "text",
    "masked": "text",
    "retry_in": "float",
    "uncharged": "integer",
    "cause": "text",
    "is_audited": "boolean",
}


class LeaseLost(Exception):
    """Another worker holds these leases now. `rows` are the numbers of their events."""

    def __init__(self, rows: set[int]) -> None:
        super().__init__("the lease was lost")
        self.rows = rows


def settle(connection: Connection, inbox: Inbox, outcomes: Sequence[Outcome]) -> None:
    """Record what became of the events. Raises LeaseLost; then the transaction has to be rolled back."""
    if not outcomes:
        return
    dialect, ahead = connection.dialect.name, inbox.clock.offset.total_seconds()
    token = outcomes[0].lease.token  # one for all leases of a batch
    owner = token if dialect == "postgresql" else token.hex
    rows = json.dumps([_row(outcome) for outcome in outcomes])
    if dialect == "postgresql":
        values = (rows, ahead, ahead, ahead, ahead, owner, ahead)
        settled = connection.exec_driver_sql(_at_once(), values).scalars().all()
    else:
        settling, auditing = _one_after_the_other()
        settled = connection.exec_driver_sql(settling, (rows, ahead, ahead, ahead, ahead, owner)).scalars().all()
        connection.exec_driver_sql(auditing, (rows, ahead))
    if lost := {outcome.lease.inbox_id for outcome in outcomes} - set(settled):
        raise LeaseLost(lost)


def _row(outcome: Outcome) -> dict[str, Any]:
    """What `_OUTCOME` names."""
    lease, opened, failure = outcome.lease, outcome.opened, outcome.failure
    return {
        "inbox_id": lease.inbox_id,
        "event_id": lease.event_id,
        "event_type": lease.event_type,
        "result": outcome.result,
        "actor": f"attempt {lease.attempt}",
        "duration_ms": outcome.duration_ms,
        "detail": failure.error if failure else None,
        "state": checked(outcome.state, origin=State.PENDING),
        "masked": opened.masked if opened else None,
        "retry_in": outcome.retry_in,
        "uncharged": int(not outcome.is_charged),
        "cause": failure.cause if failure else None,
        "is_audited": outcome.is_audited,
    }


@cache
def _at_once() -> str:
    """Both statements in one, which only PostgreSQL can: the array is sent and read once."""
    return f"""
        WITH outcomes AS ({_outcomes("postgresql")}),
            settled AS ({_update("postgresql")}),
            audited AS ({_insert("postgresql")})
        SELECT id FROM settled"""  # noqa: S608 - made of names that stand in this file


@cache
def _one_after_the_other() -> tuple[str, str]:
    """The same on SQLite."""
    outcomes = f"WITH outcomes AS ({_outcomes('sqlite')})"
    return f"{outcomes} {_update('sqlite')}", f"{outcomes} {_insert('sqlite')}"


def _update(dialect: str) -> str:
    mark = PLACEHOLDER[dialect]
    return f"""
        UPDATE events SET
            state = outcomes.state,
            last_error = outcomes.detail,
            cause = outcomes.cause,
            cause_since = CASE WHEN outcomes.cause = events.cause THEN events.cause_since
                WHEN outcomes.cause IS NOT NULL THEN {database_now_sql(dialect, mark)} END,
            failing_since = CASE WHEN outcomes.state = '{State.PENDING}'
                THEN COALESCE(events.failing_since, {database_now_sql(dialect, mark)}) END,
            attempts = events.attempts - outcomes.uncharged,
            finished_at = CASE WHEN outcomes.state <> '{State.PENDING}' THEN {database_now_sql(dialect, mark)} END,
            due_at = CASE WHEN outcomes.retry_in IS NULL THEN due_at
                ELSE {database_now_sql(dialect, f"{mark} + outcomes.retry_in")} END,
            masked_payload = COALESCE(outcomes.masked, masked_payload),
            lease_token = NULL, lease_until = NULL, leased_by = NULL
        FROM outcomes
        WHERE events.id = outcomes.inbox_id AND events.lease_token = {mark}
        RETURNING events.id"""  # noqa: S608 - made of names that stand in this file


def _insert(dialect: str) -> str:
    columns = ", ".join(_AUDITED)
    return f"""
        INSERT INTO audit_log ({columns}, action, at)
        SELECT {columns}, 'attempt', {database_now_sql(dialect, PLACEHOLDER[dialect])} FROM outcomes
        WHERE is_audited"""  # noqa: S608 - made of names that stand in this file


def _outcomes(dialect: str) -> str:
    """The rows of the JSON array."""
    if dialect == "postgresql":
        columns = ", ".join(f"{name} {kind}" for name, kind in _OUTCOME.items())
        return f"SELECT * FROM json_to_recordset(%s::json) AS row ({columns})"  # noqa: S608 - made of names that stand in this file
    columns = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in _OUTCOME)
    return f"SELECT {columns} FROM json_each(?)"  # noqa: S608 - made of names that stand in this file
