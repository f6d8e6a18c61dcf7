"""What /metrics says of the inbox: the facts that conditions.py judges, as gauges. To add one: one more `yield`."""

from collections.abc import Iterator

from receiver.metrics import Gauge
from receiver.queries.conditions import CODES, Health, Limits, conditions
from receiver.queries.health import type_as_label
from receiver.store.lifecycle import EVERY


def gauges(health: Health) -> Iterator[Gauge]:
    """What the database knows. A count that ends at its cap has a 1 beside it in `senang_events_capped`."""
    counts = {state.value: count for state, count in health.counts.items()}
    needed = {condition.code for condition in conditions(health, Limits())}
    by_state = {state: count.number for state, count in counts.items()}
    yield Gauge(
        "events", "Events by state; senang_events_capped says which count ends before its end", by_state, "state"
    )
    capped = {state: int(count.capped) for state, count in counts.items()}
    yield Gauge("events_capped", "1 where there are more events than senang_events says", capped, "state")
    yield Gauge("failing_events", "Pending events whose last attempt failed", health.failing.count.number)
    yield Gauge("waiting_events", "Pending events that their handler put off", health.waiting.count.number)
    yield Gauge(
        "data_misfits", "Dead events whose data does not fit the schema of their handler", health.misfits, "event_type"
    )
    quarantined = sum(count.number for count in health.quarantined.values())
    yield Gauge("quarantined_recently", "Deliveries of the last 72 hours that are quarantined", quarantined)
    waits = (health.now - health.oldest_due).total_seconds() if health.oldest_due else 0.0
    yield Gauge("oldest_due_seconds", "For how long the oldest due event has been due", max(0.0, waits))
    yield Gauge("wrong_path_posts", "POSTs of the last hour to paths that look like the webhook's", health.wrong_paths)
    if found := health.connections:
        numbers = {"ours": found.ours, "all": found.used, "most": found.most}
        yield Gauge("database_connections", "Connections: ours, all, and the most that may be", numbers, "which")
    yield Gauge(
        "due_without_worker", "Events are due and no worker was seen for a minute", int(health.due_without_worker)
    )
    paused = {EVERY if pause.is_of_all else type_as_label(pause.event_type): 1 for pause in health.paused}
    yield Gauge("paused", "1 for each event type whose handlers are paused; * means all", paused, "event_type")
    needs = {code: int(code in needed) for code in CODES}
    yield Gauge("needs_a_person", "1 where Overview and events check warn", needs, "condition")
