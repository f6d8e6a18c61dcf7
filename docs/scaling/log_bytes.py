"""`python -m docs.scaling.log_bytes`: how much log (WAL) and disk an event takes, asked of a real PostgreSQL.

Events are written by the receiver's own store, in groups, and processed by its own worker: on an empty table, on one
that is `FILLED`, and right after a checkpoint, when the first change of each page writes the whole page to the log.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import sqlalchemy as sa

from bench.fill import fill, fill_engine
from bench.pages import SETTINGS, migrate
from receiver import create_app
from receiver.config import load_settings
from receiver.ingest.intake import arrival_store
from receiver.ingest.rows import Delivery, arrival
from receiver.protocol.envelope import parse_event
from receiver.sandbox.samples import sample
from receiver.store.inbox import Inbox
from receiver.worker.batch import process_next
from receiver.worker.workbench import Workbench
from tests.receiver.databases import Postgres

FILLED, RECEIVED, WORKED, GROUP = 300_000, 5_000, 1_000, 50
LSN = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
DISK = (
    "SELECT relname, pg_table_size(oid), pg_indexes_size(oid),"
    " (SELECT count(*) FROM pg_index WHERE indrelid = pg_class.oid) FROM pg_class"
    " WHERE relname IN ('events', 'audit_log')"
)


def main() -> None:
    """Print the tables."""
    with TemporaryDirectory(prefix="senang-bench-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder) / "postgresql")
        server.make_template(migrate)
        with server.database() as empty, server.database() as full:
            print("\n".join(measure(empty, full)))
        server.stop()


def measure(empty: str, full: str) -> Iterator[str]:
    """Bytes of log for each event, then bytes on the disk."""
    fill(fill_engine(full), FILLED)
    young, old = map(_inbox, (empty, full))
    yield "| log bytes per event | received | processed |\n|---|--:|--:|"
    yield _line("young table", young)
    yield _line(f"{FILLED:,} events, after a checkpoint", old)
    for _ in range(6):
        _log_of(old, lambda: _receive(old, RECEIVED), RECEIVED, checkpoint=False)
    yield _line("the same, its pages in the log already", old, checkpoint=False)
    yield "\n| on the disk, bytes per row | rows | indexes | how many indexes |\n|---|--:|--:|--:|"
    with old.engine.connect() as connection:
        for name, table, indexes, number in connection.exec_driver_sql(DISK).all():
            rows = connection.scalar(sa.text(f"SELECT count(*) FROM {name}")) or 1  # noqa: S608
            yield f"| {name} | {table / rows:.0f} | {indexes / rows:.0f} | {number} |"
    for inbox in (young, old):
        inbox.close()


def _inbox(url: str) -> Inbox:
    inbox: Inbox = create_app(load_settings(SETTINGS | {"DATABASE_URL": url})).extensions["inbox"]
    return inbox


def _line(name: str, inbox: Inbox, *, checkpoint: bool = True) -> str:
    received = _log_of(inbox, lambda: _receive(inbox, RECEIVED), RECEIVED, checkpoint=checkpoint)
    worked = _log_of(inbox, lambda: _work_off(inbox, WORKED), WORKED, checkpoint=checkpoint)
    return f"| {name} | {received:,.0f} | {worked:,.0f} |"


def _log_of(inbox: Inbox, act: Callable[[], None], events: int, *, checkpoint: bool) -> float:
    with inbox.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if checkpoint:
            connection.exec_driver_sql("CHECKPOINT")
        before = connection.exec_driver_sql(LSN).scalar_one()
        act()
        return float(connection.exec_driver_sql(LSN).scalar_one() - before) / events


def _receive(inbox: Inbox, events: int) -> None:
    store, fields = arrival_store(inbox), inbox.settings.payload_fields
    for _ in range(events // GROUP):
        bodies = [json.dumps(sample("payment.success", fields=fields, now=inbox.clock.now())) for _ in range(GROUP)]
        deliveries = [Delivery(body.encode(), uuid4().hex, 3) for body in bodies]
        store.store([arrival(inbox.settings, parse_event(each.body, fields), each) for each in deliveries])
    store.close()


def _work_off(inbox: Inbox, events: int) -> None:
    bench, done = Workbench(inbox, "bench"), 0
    while done < events:
        done += process_next(bench)


if __name__ == "__main__":
    main()
