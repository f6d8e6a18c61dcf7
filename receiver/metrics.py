"""What Prometheus may count. Labels come from fixed sets, so nobody outside can grow them or read data in them."""

from collections.abc import Iterator, Mapping

from prometheus_client import REGISTRY as PROCESS_REGISTRY
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)

from receiver.queries.conditions import CODES, Health, Limits, conditions

_deliveries = Counter("senang_deliveries_total", "Deliveries by what became of them", ["result", "reason"])
_seconds = Histogram("senang_delivery_seconds", "Time from the first byte read to the answer")


def count_delivery(result: str, reason: str, seconds: float) -> None:
    """Count one answer to Senang.io. `reason` is a stable code."""
    _deliveries.labels(result, reason).inc()
    _seconds.observe(seconds)


def render(health: Health, *, shared_directory: str | None) -> bytes:
    """The exposition text: the processes' counters, then the inbox as the database has it."""
    registry = PROCESS_REGISTRY
    if shared_directory:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path=shared_directory)  # type: ignore[no-untyped-call]
    return generate_latest(registry) + "".join(_gauges(health)).encode()


def _gauges(health: Health) -> Iterator[str]:
    """What the database knows. A count that ends at its cap has a 1 beside it in `senang_events_capped`."""
    counts = {state.value: count for state, count in health.counts.items()}
    needed = {condition.code for condition in conditions(health, Limits())}
    numbers = {state: count.number for state, count in counts.items()}
    yield _gauge(
        "events", "Events by state; senang_events_capped says which count ends before its end", numbers, "state"
    )
    capped = {state: int(count.capped) for state, count in counts.items()}
    yield _gauge("events_capped", "1 where there are more events than senang_events says", capped, "state")
    yield _gauge("failing_events", "Pending events whose last attempt failed", health.failing.count.number)
    yield _gauge("waiting_events", "Pending events that their handler put off", health.waiting.count.number)
    quarantined = sum(count.number for count in health.quarantined.values())
    yield _gauge("quarantined_recently", "Deliveries of the last 72 hours that are quarantined", quarantined)
    waits = (health.now - health.oldest_due).total_seconds() if health.oldest_due else 0.0
    yield _gauge("oldest_due_seconds", "For how long the oldest due event has been due", max(0.0, waits))
    yield _gauge("wrong_path_posts", "POSTs of the last hour to paths that look like the webhook's", health.wrong_paths)
    yield _gauge(
        "due_without_worker", "Events are due and no worker was seen for a minute", int(health.due_without_worker)
    )
    needs = {code: int(code in needed) for code in CODES}
    yield _gauge("needs_a_person", "1 where Overview and events check warn", needs, "condition")


def _gauge(name: str, about: str, value: float | Mapping[str, float], label: str = "") -> str:
    values = (
        {f'{{{label}="{key}"}}': number for key, number in value.items()} if isinstance(value, Mapping) else {"": value}
    )
    lines = [f"# HELP senang_{name} {about}", f"# TYPE senang_{name} gauge"]
    lines += [f"senang_{name}{labels} {number}" for labels, number in values.items()]
    return "".join(f"{line}\n" for line in lines)
