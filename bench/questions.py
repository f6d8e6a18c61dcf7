"""Everything that a page asks of the inbox, by name. A new function of the data layer gets its line here."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.engine import reading
from receiver.queries.audit_trail import AuditFilter, audit_trail, list_audit
from receiver.queries.failures import failures
from receiver.queries.filters import Filter, Origin
from receiver.queries.health import health
from receiver.queries.overview import overview
from receiver.queries.search import BATCH, count_failing, counts, neighbours, page, stream
from receiver.queries.subject import subject
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import State
from receiver.store.models import StoredEvent

Question = Callable[[], Any]
FAILING: dict[str, Any] = {"failing": True, "states": frozenset({State.PENDING})}
STREAMED = ("all", "most", "type", "term, beginning of all")
"""Those that have more than a batch of rows on a small database, too; on a larger one they have no more work."""


def questions(inbox: Inbox) -> dict[str, Question]:
    """On a database that bench/fill.py filled."""
    asked = {}
    with reading(inbox.engine) as session:
        middle = session.get_one(StoredEvent, (session.scalar(sa.select(sa.func.max(StoredEvent.id))) or 0) // 2)
    for name, wanted in filters(middle).items():
        for question, ask in _of_filter(middle, wanted, streamed=name in STREAMED):
            asked[f"{question}: {name}"] = _asked(inbox, ask)
    for hours in (24, 24 * 7, 24 * 30):
        asked[f"overview: {hours} hours"] = partial(overview, inbox, hours)
    for name, chosen in audit_filters(middle).items():
        asked[f"audit log: {name}"] = _asked(inbox, partial(list_audit, chosen=chosen))
        asked[f"audit log, older: {name}"] = _asked(
            inbox, partial(list_audit, chosen=chosen, before=(middle.received_at, 1))
        )
    asked["an event's trail"] = _asked(inbox, partial(audit_trail, row=middle))
    asked["health"] = partial(health, inbox)
    asked["failures by cause"] = _asked(inbox, partial(failures, since=None))
    for name, reference in (("of few events", middle.policy_id), ("of very many", "POL-7")):
        asked[f"story: {name}"] = _asked(inbox, partial(subject, kind="policy", reference=reference or ""))
    return asked


def filters(row: StoredEvent) -> dict[str, Filter]:
    """Each combination that takes another way through the indexes."""
    span = {"since": row.received_at - timedelta(days=7), "until": row.received_at + timedelta(days=1)}
    kinds: dict[str, dict[str, Any]] = {
        "all": {},
        "one state": {"states": frozenset({State.DEAD})},
        "most": {"states": frozenset({State.PROCESSED})},
        "three states": {"states": frozenset({State.DEAD, State.UNHANDLED, State.QUARANTINED})},
        "type": {"event_type": "policy.issued"},
        "type and state": {"event_type": "claim.updated", "states": frozenset({State.DEAD})},
        "type without such state": {"event_type": "account.closed", "states": frozenset({State.PROCESSED})},
        "unknown type": {"event_type": "no.such"},
        "failing": FAILING,
        "cause": {"cause": "000000000001"},
        "cause and state": {"cause": "000000000002", "states": frozenset({State.DEAD})},
        "cause and type": {"cause": "000000000002", "event_type": "claim.updated"},
        "failing, of a cause": {"cause": "000000000003", **FAILING},
        "failing, of a type": {"event_type": "policy.cancelled", **FAILING},
    }
    kinds |= {
        "attempts": {"attempts": 2},
        "attempts, failing": {"attempts": 2, **FAILING},
        "deliveries, three states": {"origin": Origin.DELIVERY, **kinds["three states"]},
    }
    timed = {f"{name}, a week": kinds[name] | span for name in ("all", "most", "three states", "type and state")}
    terms = {
        "event ID": row.event_id,
        "policy ID": row.policy_id,
        "policy with very many": "POL-7",
        "beginning of few": (row.policy_id or "")[:-1],
        "beginning of all": "evt_",
        "nothing": "no-such",
        "row number": f"#{row.id}",
    }
    searched = {f"term, {name}": {"term": term} for name, term in terms.items()}
    mixed = {
        "term, beginning of all, state": {"term": "POL-", "states": frozenset({State.DEAD})},
        "term, beginning of all, failing": {"term": "evt_", **FAILING},
        "term, beginning of all, follow-ups": {"term": "evt_", "origin": Origin.FOLLOW_UP, "attempts": 2},
        "term, beginning of all, all else": {"term": "TXN-", **kinds["type and state"], **span},
    }
    return {name: Filter(**criteria) for name, criteria in {**kinds, **timed, **searched, **mixed}.items()}


def audit_filters(row: StoredEvent) -> dict[str, AuditFilter]:
    """What the audit log's page can be asked."""
    return {
        "all": AuditFilter(),
        "deliveries": AuditFilter(action="delivery"),
        "replays": AuditFilter(action="replay"),
        "of an event": AuditFilter(event_id=row.event_id),
        "a week": AuditFilter(since=row.received_at - timedelta(days=7), until=row.received_at),
        "replays of a week": AuditFilter(action="replay", since=row.received_at - timedelta(days=7)),
    }


def _of_filter(
    middle: StoredEvent, wanted: Filter, *, streamed: bool
) -> Iterator[tuple[str, Callable[[Session], Any]]]:
    here = (middle.received_at, middle.id)
    yield "events page", lambda session: (page(session, wanted), counts(session, wanted))
    yield "older rows", lambda session: page(session, wanted, before=here)
    yield "newer rows", lambda session: page(session, wanted, after=here)
    yield "counts", lambda session: (counts(session, wanted), count_failing(session, wanted))
    yield "neighbours", lambda session: neighbours(session, middle, wanted)
    if streamed:
        yield "stream, two batches", lambda session: list(islice(stream(_engine(session), wanted), BATCH + 1))


def _engine(session: Session) -> sa.Engine:
    engine = session.get_bind()
    return engine if isinstance(engine, sa.Engine) else engine.engine


def _asked(inbox: Inbox, ask: Callable[[Session], Any]) -> Question:
    def question() -> Any:
        with reading(inbox.engine) as session:
            return ask(session)

    return question
