"""What Prometheus may count. Labels come from fixed sets, so nobody outside can grow them or read data in them.

Two kinds of numbers stand beside each other. What a web process counts by itself is of its machine: add it up over the
machines. What the database knows is of the whole receiver, and each machine says the same: take the highest.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import REGISTRY as PROCESS_REGISTRY
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

_deliveries = Counter("senang_deliveries_total", "Deliveries by what became of them", ["result", "reason"])
_seconds = Histogram("senang_delivery_seconds", "Time from the first byte read to the answer")
_waiting = Gauge(
    "senang_committer_waiting", "Deliveries that wait for the next commit", multiprocess_mode="sum"
)  # gunicorn.conf.py numbers the processes, so none that is gone is summed


def count_delivery(result: str, reason: str, seconds: float) -> None:
    """Count one answer to Senang.io. `reason` is a stable code."""
    _deliveries.labels(result, reason).inc()
    _seconds.observe(seconds)


def note_waiting(deliveries: int) -> None:
    """So many deliveries wait for the committer of this process."""
    _waiting.set(deliveries)


def counted(*, shared_directory: str | None) -> bytes:
    """What the web processes of this machine counted, as exposition text."""
    registry = PROCESS_REGISTRY
    if shared_directory:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path=shared_directory)  # type: ignore[no-untyped-call]  # not typed
    return generate_latest(registry)


def written(families: Iterable[Metric]) -> bytes:
    """These families as exposition text."""
    registry = CollectorRegistry()
    registry.register(_Known(families))
    return generate_latest(registry)


class _Known(Collector):
    """Families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        yield from self._families
