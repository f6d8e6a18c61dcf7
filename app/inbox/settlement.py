"""How outcomes are settled: many events and their audit rows at once, in the transaction of their handlers' writes.

`settle()` is the fence: it settles what is still claimed by this very token, all of it or nothing.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy.engine import Connection

from app.database import database_now_sql
from app.inbox.attempt import Outcome
from app.inbox.context import Inbox
from app.inbox.lifecycle import State

_SETTLED = {"id": "bigint", "state": "text", "last_error": "text", "masked": "text", "retry_in": "float"}
_AUDITED = {
    "inbox_id": "bigint",
    "event_id": "text",
    "event_type": "text",
    "result": "text",
    "actor": "text",
    "duration_ms": "integer",
    "detail": "text",
}


class LeaseLost(Exception):
    """Somebody else holds these claims now; `rows` are their numbers."""

    def __init__(self, rows: set[int]) -> None:
        super().__init__("the lease was lost")
        self.rows = rows


def settle(connection: Connection, inbox: Inbox, outcomes: Sequence[Outcome]) -> None:
    """Record what became of the events. Raises LeaseLost; then the transaction has to be rolled back."""
    if not outcomes:
        return
    dialect, ahead = connection.dialect.name, inbox.clock.offset.total_seconds()
    values = [value for outcome in outcomes for value in _settled(outcome)]
    token = outcomes[0].claim.token  # one for all claims of a batch
    owner = token if dialect == "postgresql" else token.hex
    statement = _settle_statement(dialect, len(outcomes))
    settled = connection.exec_driver_sql(statement, (*values, ahead, ahead, owner)).scalars().all()
    if lost := {outcome.claim.inbox_id for outcome in outcomes} - set(settled):
        raise LeaseLost(lost)
    audited = [value for outcome in outcomes for value in _audited(outcome)]
    connection.exec_driver_sql(_audit_statement(dialect, len(outcomes)), (*audited, ahead))


def _settled(outcome: Outcome) -> tuple[Any, ...]:
    """What `_SETTLED` names."""
    return outcome.claim.inbox_id, outcome.state.value, _error(outcome), outcome.masked, outcome.retry_in


def _audited(outcome: Outcome) -> tuple[Any, ...]:
    """What `_AUDITED` names."""
    claim = outcome.claim
    actor = f"attempt {claim.attempt}"
    about = (claim.inbox_id, claim.event_id, claim.event_type)
    return *about, outcome.result, actor, outcome.duration_ms, _error(outcome)


def _error(outcome: Outcome) -> str | None:
    return outcome.failure.error if outcome.failure else None


@cache
def _settle_statement(dialect: str, rows: int) -> str:
    mark = _MARK[dialect]
    return f"""
        WITH {_outcomes(dialect, _SETTLED, rows)}
        UPDATE events SET
            state = outcomes.state,
            last_error = outcomes.last_error,
            finished_at = CASE WHEN outcomes.state <> '{State.PENDING}' THEN {database_now_sql(dialect, mark)} END,
            due_at = CASE WHEN outcomes.retry_in IS NULL THEN due_at
                ELSE {database_now_sql(dialect, f"{mark} + outcomes.retry_in")} END,
            masked_payload = COALESCE(outcomes.masked, masked_payload),
            claim_token = NULL, lease_until = NULL, claimed_by = NULL
        FROM outcomes
        WHERE events.id = outcomes.id AND events.claim_token = {mark}
        RETURNING events.id"""  # noqa: S608 - made of names that stand in this file


@cache
def _audit_statement(dialect: str, rows: int) -> str:
    columns = ", ".join(_AUDITED)
    return f"""
        WITH {_outcomes(dialect, _AUDITED, rows)}
        INSERT INTO audit_log ({columns}, action, at)
        SELECT {columns}, 'attempt', {database_now_sql(dialect, _MARK[dialect])} FROM outcomes"""  # noqa: S608 - as above


_MARK = {"postgresql": "%s", "sqlite": "?"}


def _outcomes(dialect: str, columns: Mapping[str, str], rows: int) -> str:
    kinds = [f"%s::{kind}" if dialect == "postgresql" else "?" for kind in columns.values()]
    row = f"({', '.join(kinds)})"
    return f"outcomes ({', '.join(columns)}) AS (VALUES {', '.join([row] * rows)})"
