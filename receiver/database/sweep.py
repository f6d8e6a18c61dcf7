"""Takes out of the database's own files what was deleted: a deleted row is first only marked as deleted.

SQLite overwrites what is deleted (`secure_delete`, see engine.py), but the log beside the file has earlier pages, until
a checkpoint empties it. And when SQLite moves keys from one page to another, it leaves copies in the free part of the
first. PostgreSQL keeps the versions that a row had, until VACUUM. VACUUM makes their place free, and does not overwrite
it. PostgreSQL's statistics quote values of rows, too, so they are made anew, and their table is swept last.

So only what is written anew has nothing left: by VACUUM on SQLite, by VACUUM FULL on PostgreSQL. Meanwhile nobody can
use it.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from sqlalchemy.engine import Engine

from receiver.database.causes import cause_of
from receiver.database.engine import own_connection, past_the_pooler

SQLITE_TRIES = 5
LOCKED_SECONDS = 10
STATISTICS = "pg_statistic"


def sweep(engine: Engine, tables: Sequence[str], *, seconds: int, rewrite: bool = False) -> list[str]:
    """Sweep these tables. Returns a sentence for each thing that could not be done.

    `seconds` is the longest that it may take on PostgreSQL, 0 without a limit. With `rewrite`, the tables are
    written anew, on SQLite the whole file. Raises SQLAlchemyError when there is no connection.
    """
    if engine.dialect.name == "sqlite":
        return _sweep_file(engine, rewrite=rewrite)
    direct = past_the_pooler(engine)
    if direct is None:
        return ["A pooler is in front of PostgreSQL, so VACUUM was not run. Run it on the server itself."]
    try:
        return _vacuum(direct, tables, seconds, "FULL" if rewrite else "INDEX_CLEANUP ON")
    finally:
        if direct is not engine:
            direct.dispose()


def _sweep_file(engine: Engine, *, rewrite: bool) -> list[str]:
    with closing(own_connection(engine)) as connection:
        if rewrite:
            try:
                connection.execute("VACUUM")
            except Exception as error:
                return [f"VACUUM did not end: {cause_of(error)}. Do it again."]
        for _ in range(SQLITE_TRIES):
            is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not is_busy:
                return []
    return ["Somebody was reading, so the write-ahead log still has earlier pages. Do it again a little later."]


def _vacuum(engine: Engine, tables: Sequence[str], seconds: int, how: str) -> list[str]:
    left = list[str]()
    with closing(own_connection(engine)) as connection:
        connection.autocommit = True
        warnings = list[Any]()
        connection.add_notice_handler(warnings.append)
        connection.execute(f"SET lock_timeout = {LOCKED_SECONDS * 1000}")
        ends_at = time.monotonic() + seconds
        for table in (*tables, STATISTICS):
            warnings.clear()
            options = how if table == STATISTICS else f"{how}, ANALYZE"
            milliseconds = max(1, round((ends_at - time.monotonic()) * 1000)) if seconds else 0
            try:
                connection.execute(f"SET statement_timeout = {milliseconds}")
                connection.execute(f"VACUUM ({options}) {engine.dialect.identifier_preparer.quote(table)}")
            except Exception as error:  # another table may work
                left.append(f"VACUUM of {table} did not end: {cause_of(error)}.")
            if warnings:
                left.append(f"This role may not VACUUM {table}: its owner may.")
    return left
