"""An INSERT that knows `ON CONFLICT`, which both databases have and SQLAlchemy's common `insert()` has not."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert_into(table: Any, dialect: str) -> Any:
    """The dialect's own insert into a table or model.

    It has `on_conflict_do_nothing()`, `on_conflict_do_update()` and `excluded`. SQLAlchemy has no type for both kinds.
    """
    return (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)


def parameters(table: Any, columns: Iterable[str]) -> dict[str, Any]:
    """A parameter for each of these columns, with its name and type: a statement of them can be built once."""
    return {name: sa.bindparam(name, type_=table.c[name].type) for name in columns}
