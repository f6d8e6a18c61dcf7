"""Says of every statement how the database goes about it, and what of that grows with the number of rows.

It looks for scans by name, and it counts what was really taken up: the rows of each step on PostgreSQL, the steps of
SQLite's machine. On a database that is large enough that bound holds whatever a step is called, sorts included.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

TABLES = ("events", "audit_log")
MOST_ROWS = 70_000
"""What a question may take up in one step: six states counted up to the cap."""
ASKED = ("SELECT", "WITH", "INSERT", "UPDATE")
STEPS_AT_ONCE = 1000
STATISTICS_SECONDS = 1.5
"""Until PostgreSQL shows what a connection counted that was closed."""
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
            if statement.startswith(ASKED):
                found += [f"{problem}\n  {statement[:300]}" for problem in judge(connection, statement, parameters)]
    return found


def unseen_complaints(engine: Engine, ask: Callable[[], Any], close: Callable[[], None]) -> list[str]:
    """The same of what `ask` sends on a connection of its own, past SQLAlchemy; `close` gives that connection up.

    PostgreSQL counts the sequential scans of a table itself, and SQLite's driver tells every statement.
    """
    if engine.dialect.name == "postgresql":
        before = _sequential_scans(engine)
        ask()
        close()
        after = _sequential_scans(engine)
        return [f"Seq Scan on {name}, by the server's own count" for name in TABLES if after[name] > before[name]]
    with _statements_told(engine) as told:
        ask()
        close()
    with engine.connect() as connection:
        return [
            f"{row[3]}\n  {statement.strip()[:300]}"
            for statement in told
            if statement.strip().startswith(ASKED)
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
            if _is_scan(row[3])
        ]


def _sequential_scans(engine: Engine) -> dict[str, int]:
    time.sleep(STATISTICS_SECONDS)
    query = sa.text("SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname IN :tables")
    with engine.connect() as connection:
        rows = connection.execute(query.bindparams(sa.bindparam("tables", TABLES, expanding=True)))
        return {row.relname: row.seq_scan for row in rows}


@contextmanager
def _statements_told(engine: Engine) -> Iterator[list[str]]:
    told: list[str] = []

    def listen(connection: Any, _record: Any) -> None:
        connection.set_trace_callback(told.append)

    engine.dispose()  # so that the connection is a new one
    sa.event.listen(engine, "connect", listen)
    try:
        yield told
    finally:
        sa.event.remove(engine, "connect", listen)
        engine.dispose()


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
        if _is_scan(row[3]):
            yield row[3]
    taken: list[None] = []
    driver: Any = connection.connection.dbapi_connection
    driver.set_progress_handler(lambda: taken.append(None), STEPS_AT_ONCE)
    result = connection.exec_driver_sql(statement, parameters)
    if result.returns_rows:
        result.all()
    driver.set_progress_handler(None, 0)
    if len(taken) * STEPS_AT_ONCE > MOST_STEPS:
        yield f"{len(taken) * STEPS_AT_ONCE:,} steps"


def _is_scan(step: str) -> bool:
    scan = re.match(r"SCAN (\w+)(.*)", step)
    return scan is not None and scan[1] in TABLES and " USING " not in scan[2]
