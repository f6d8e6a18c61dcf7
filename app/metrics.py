"""What Prometheus may count. Labels come from fixed sets, so nobody outside can grow them or read data in them."""

from prometheus_client import REGISTRY as PROCESS_REGISTRY
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)

from app.inbox.queries import Health

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
    lines = ["# HELP senang_events Events by state, counted up to 10000", "# TYPE senang_events gauge"]
    lines += [f'senang_events{{state="{state}"}} {count}' for state, count in health.counts.items()]
    lines += ["# HELP senang_due_without_worker Events are due and no worker was seen for a minute"]
    lines += ["# TYPE senang_due_without_worker gauge"]
    lines += [f"senang_due_without_worker {int(health.due_without_worker)}"]
    return generate_latest(registry) + "\n".join(lines).encode() + b"\n"
