"""What /metrics says of the database: the facts that conditions.py judges, and the sums of all time.

Every machine says the same. To add a number: one more `yield`. ops/ has rules and a board that read these names.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from receiver.queries.attempts import Attempts
from receiver.queries.conditions import CODES, Health, Limits, conditions
from receiver.store.audit import WORKER_LOST
from receiver.store.lifecycle import EVERY
from receiver.store.models import HANDLER_BUCKETS
from receiver.store.type_label import type_label


def numbers(health: Health, attempts: Sequence[Attempts], summed_at: datetime | None) -> Iterator[Metric]:
    """Everything. A count that ends at its cap has a 1 beside it in `senang_events_capped`."""
    yield from _of_events(health)
    yield from _of_time(health, summed_at)
    yield from _of_attempts(attempts)
    yield from _of_machinery(health)
    needed = {condition.code for condition in conditions(health, Limits())}
    yield _gauges(
        "needs_a_person", "1 where Overview and events check warn", "condition", {c: int(c in needed) for c in CODES}
    )


def _of_events(health: Health) -> Iterator[Metric]:
    counts = {state.value: count for state, count in health.counts.items()}
    by_state = {state: count.number for state, count in counts.items()}
    yield _gauges(
        "events", "Events by state; senang_events_capped says which count ends before its end", "state", by_state
    )
    capped = {state: int(count.capped) for state, count in counts.items()}
    yield _gauges("events_capped", "1 where there are more events than senang_events says", "state", capped)
    yield _gauge("failing_events", "Pending events whose last attempt failed", health.failing.count.number)
    yield _gauge("waiting_events", "Pending events that their handler put off", health.waiting.count.number)
    about = "Dead events whose data does not fit the schema of their handler"
    yield _gauges("data_misfits", about, "event_type", health.misfits)
    quarantined = sum(count.number for count in health.quarantined.values())
    yield _gauge("quarantined_recently", "Deliveries of the last 72 hours that are quarantined", quarantined)
    yield _gauge("wrong_path_posts", "POSTs of the last hour to paths that look like the webhook's", health.wrong_paths)
    paused = {EVERY if pause.is_of_all else type_label(pause.event_type): 1 for pause in health.paused}
    yield _gauges("paused", "1 for each event type whose handlers are paused; * means all", "event_type", paused)


def _of_time(health: Health, summed_at: datetime | None) -> Iterator[Metric]:
    """Moments are left out until there are any."""
    waits = (health.now - health.oldest_due).total_seconds() if health.oldest_due else 0.0
    yield _gauge("oldest_due_seconds", "For how long the oldest due event has been due", max(0.0, waits))
    for name, about, moment in (
        ("last_delivery_timestamp_seconds", "When the last authentic delivery came", health.last_delivery),
        ("sums_timestamp_seconds", "Up to when attempts are counted: workers sum them", summed_at),
    ):
        if moment is not None:
            yield _gauge(name, about, moment.timestamp())


def _of_attempts(attempts: Sequence[Attempts]) -> Iterator[Metric]:
    ended = CounterMetricFamily("senang_attempts", "Attempts by how they ended", labels=["event_type", "result"])
    lasted = HistogramMetricFamily("senang_handler_seconds", "How long attempts took", labels=["event_type"])
    lost = 0
    for found in attempts:
        for result, number in sorted(found.results.items()):
            ended.add_metric([found.event_type, result], number)
        lost += found.results[WORKER_LOST]
        if found.buckets:
            lasted.add_metric([found.event_type], _cumulative(found.buckets), found.milliseconds / 1000)
    yield ended
    yield lasted
    yield CounterMetricFamily("senang_leases_lost", "Leases that ended without an outcome of the attempt", lost)


def _cumulative(buckets: Mapping[float, int]) -> list[tuple[str, float]]:
    found = [
        (bound, sum(number for upper, number in buckets.items() if upper <= bound))
        for bound in (*HANDLER_BUCKETS, math.inf)
    ]
    return [(str(bound / 1000) if bound < math.inf else "+Inf", float(number)) for bound, number in found]


def _of_machinery(health: Health) -> Iterator[Metric]:
    yield _gauge("workers", "Worker processes that were seen within a minute", health.workers)
    yield _gauge(
        "due_without_worker", "Events are due and no worker was seen for a minute", int(health.due_without_worker)
    )
    if found := health.connections:
        of = {"ours": found.ours, "all": found.used, "most": found.most}
        yield _gauges("database_connections", "Connections: ours, all, and the most that may be", "which", of)
    yield _gauge("database_bytes", "The size of the database", health.disk.database)
    if health.disk.free is not None and health.disk.total is not None:
        yield _gauge("disk_free_bytes", "What is free of the disk of SQLite's database", health.disk.free)
        yield _gauge("disk_bytes", "The disk of SQLite's database", health.disk.total)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"senang_{name}", about, value)


def _gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    """One for each value of a label."""
    family = GaugeMetricFamily(f"senang_{name}", about, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
