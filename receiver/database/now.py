"""The database's own clock, as an SQL expression and as SQL text.

Leases must not depend on the clocks of many machines.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from receiver.database.columns import UtcDateTime


class database_now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock plus `seconds` (leases must not depend on the clocks of many machines)."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, seconds: float | sa.BindParameter[float] = 0.0) -> None:
        named = isinstance(seconds, sa.BindParameter)
        super().__init__(seconds if named else sa.bindparam(None, seconds, sa.Float(), unique=True))


def database_now_sql(dialect: str, seconds: str) -> str:
    """The same as SQL text; `seconds` is an expression of a number."""
    if dialect == "sqlite":
        return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds') || '000')"
    # As a subquery it is asked once: compared with a volatile function itself, no index could bound the rows.
    return f"(SELECT clock_timestamp() + ({seconds}) * interval '1 second')"


PLACEHOLDER = {"postgresql": "%s", "sqlite": "?"}
"""What stands for a value in SQL text that the driver gets as it is."""


def driver_moment(dialect: str, moment: datetime) -> datetime | str:
    """A moment in UTC as the driver takes it. On SQLite it is text, in the form that SQLAlchemy reads."""
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds") if dialect == "sqlite" else moment


@compiles(database_now)
def _compiled_now(element: database_now, compiler: Any, **kw: Any) -> str:
    return database_now_sql(compiler.dialect.name, compiler.process(element.clauses, **kw))
