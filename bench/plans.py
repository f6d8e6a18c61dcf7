"""Says of every statement how the database goes about it, and what of that grows with the number of rows.

It looks for scans by name, and it counts what was really taken up: the rows of each step on PostgreSQL, the steps of
SQLite's machine. On a database that is large enough that bound holds whatever a step is called, sorts included.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

TABLES = ("events", "audit_log")
MOST_ROWS = 60_000
"""What a question may take up in one step: five states counted up to the cap."""
STEPS_AT_ONCE = 1000
MOST_STEPS = 2_000_000
"""Of SQLite's machine; a scan of a million rows takes several each."""


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """The statements that the block runs, with their parameters, as the driver gets them."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        seen.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def complaints(engine: Engine, ask: Callable[[], Any], *, planner: tuple[str, ...] = ()) -> list[str]:
    """What is wrong with the plans of the statements that `ask` runs; `planner` are settings of PostgreSQL."""
    with statements_of(engine) as seen:
        ask()
    judge = _judge_postgresql if engine.dialect.name == "postgresql" else _judge_sqlite
    found = []
    with engine.connect() as connection:
        for setting in planner if engine.dialect.name == "postgresql" else ():
            connection.exec_driver_sql(f"SET LOCAL {setting}")
        for statement, parameters in seen:
            if statement.startswith(("SELECT", "WITH")):
                found += [f"{problem}\n  {statement[:300]}" for problem in judge(connection, statement, parameters)]
    return found


def _judge_postgresql(connection: sa.Connection, statement: str, parameters: Any) -> Iterator[str]:
    explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
    plan = explained if isinstance(explained, list) else json.loads(explained)
    for step in _steps(plan[0]["Plan"]):
        if step["Node Type"] == "Seq Scan" and step["Relation Name"] in TABLES:
            yield f"Seq Scan on {step['Relation Name']}"
        removed = step.get("Rows Removed by Filter", 0) + step.get("Rows Removed by Index Recheck", 0)
        rows = (step["Actual Rows"] + removed) * step["Actual Loops"]
        if rows > MOST_ROWS:
            yield f"{step['Node Type']} takes up {rows:,.0f} rows"


def _steps(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield step
    for below in step.get("Plans", ()):
        yield from _steps(below)


def _judge_sqlite(connection: sa.Connection, statement: str, parameters: Any) -> Iterator[str]:
    for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
        scan = re.match(r"SCAN (\w+)(.*)", row[3])
        if scan and scan[1] in TABLES and " USING " not in scan[2]:
            yield row[3]
    taken: list[None] = []
    driver: Any = connection.connection.dbapi_connection
    driver.set_progress_handler(lambda: taken.append(None), STEPS_AT_ONCE)
    connection.exec_driver_sql(statement, parameters).all()
    driver.set_progress_handler(None, 0)
    if len(taken) * STEPS_AT_ONCE > MOST_STEPS:
        yield f"{len(taken) * STEPS_AT_ONCE:,} steps"
