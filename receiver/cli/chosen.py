"""Which events a command of `events` is about, one by its name or those of a filter, and the line that lists one."""

import click
from sqlalchemy.orm import Session

from receiver.protocol.moments import written
from receiver.queries.audit_trail import find_event
from receiver.queries.filters import Filter
from receiver.store.lifecycle import State
from receiver.store.models import StoredEvent
from receiver.store.shown import Shown


def event_filter(
    state: str | None,
    event_type: str | None,
    *,
    failing: bool,
    cause: str | None,
    attempts: int | None = None,
    origin: str | None = None,
) -> Filter:
    """The filter of these options. Raises BadFilter."""
    states = [State.PENDING] if failing else [state or ""]
    parameters = {"state": states, "failing": ["yes" if failing else ""], "type": [event_type or ""]}
    parameters |= {"cause": [cause or ""], "attempts": [str(attempts or "")], "origin": [origin or ""]}
    return Filter.from_parameters(parameters)


def found_event(session: Session, reference: str) -> StoredEvent:
    """The event of this ID, or of # and this number. Ends the command where there is none."""
    row = find_event(session, reference)
    if row is None:
        raise click.ClickException("There is no such event.")
    return row


def line_of(row: Shown) -> str:
    """One event in a list."""
    return f"{written(row.received_at)}Z  {row.state:<11}  {row.event_type or '-':<18}  {row.command_name}"
