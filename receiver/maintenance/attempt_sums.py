"""Sums the attempts of the audit log by event type, result and duration: by the hour, and of all time.

rollup.py calls it in the transaction that sums a batch, so each row is counted exactly once. The sums of all time only
grow, because Prometheus takes a counter that falls for one that began anew. There is an end to the types: a type that
has a handler of its own is always counted by its name. Of the others, only the first `MOST_TYPES` are; the rest is
counted as `OTHER`.
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.insert import insert_into
from receiver.registry import registered
from receiver.store.models import BEYOND, HANDLER_BUCKETS, UNTIMED, AttemptSum, AttemptTotal, AuditEntry
from receiver.store.type_label import OTHER, type_label

MOST_TYPES = 100


def add_attempts(session: Session, rows: sa.ColumnElement[bool], hour: sa.ColumnElement[Any]) -> None:
    """Add these rows of the audit log to the sums. `hour` is the hour of a row."""
    attempts = rows & (AuditEntry.action == "attempt")
    came = set(session.scalars(sa.select(AuditEntry.event_type).where(attempts).distinct()))
    if came:
        key = {"event_type": _label(_named(session, came)), "result": AuditEntry.result, "bucket": _bucket()}
        _add(session, AttemptTotal, key, attempts)
        _add(session, AttemptSum, {"hour": hour, **key}, attempts)


def _add(session: Session, table: Any, key: dict[str, Any], attempts: sa.ColumnElement[bool]) -> None:
    lasted = sa.func.coalesce(sa.func.sum(AuditEntry.duration_ms), 0)
    sums = {"occurrences": sa.func.sum(AuditEntry.occurrences), "milliseconds": lasted}
    grouped = sa.select(*key.values(), *sums.values()).where(attempts)
    grouped = grouped.group_by(*(sa.text(str(number)) for number in range(1, len(key) + 1)))
    insert = insert_into(table, session.get_bind().dialect.name).from_select([*key, *sums], grouped)
    more = {name: getattr(table, name) + insert.excluded[name] for name in sums}
    session.execute(insert.on_conflict_do_update(index_elements=list(key), set_=more))


def _bucket() -> sa.ColumnElement[str]:
    """The smallest upper bound that the attempt's duration does not exceed."""
    lasted = AuditEntry.duration_ms
    bounds: Any = [(lasted <= bound, sa.literal_column(f"'{bound}'")) for bound in HANDLER_BUCKETS]
    untimed: Any = (lasted.is_(None), sa.literal_column(f"'{UNTIMED}'"))
    return sa.case(untimed, *bounds, else_=sa.literal_column(f"'{BEYOND}'"))


def _label(named: Collection[str]) -> sa.ColumnElement[Any]:
    """The name by which a row is counted."""
    return sa.case((AuditEntry.event_type.in_(named), AuditEntry.event_type), else_=sa.literal_column(f"'{OTHER}'"))


def _named(session: Session, came: set[str | None]) -> Collection[str]:
    """The types that are counted by their names: those that were, those with a handler, and those that have room."""
    known = set(session.scalars(sa.select(AttemptTotal.event_type).distinct())) - {OTHER}
    handled = {pattern for pattern, _ in registered()}
    usual = {event_type for event_type in came if event_type and type_label(event_type) == event_type}
    new = sorted(usual - known - handled)
    return sorted((usual & (known | handled)) | set(new[: max(0, MOST_TYPES - len(known))]))
