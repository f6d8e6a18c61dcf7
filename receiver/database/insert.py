"""An INSERT that knows `ON CONFLICT`, which both databases have and SQLAlchemy's common `insert()` has not."""

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite


def insert_into(table: Any, dialect: str) -> Any:
    """The dialect's own insert into a table or model.

    It has `on_conflict_do_nothing()`, `on_conflict_do_update()` and `excluded`. SQLAlchemy has no type for both kinds.
    """
    return (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
