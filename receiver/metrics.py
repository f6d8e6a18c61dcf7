"""What Prometheus may count. Labels come from fixed sets, so nobody outside can grow them or read data in them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client import REGISTRY as PROCESS_REGISTRY
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)

_deliveries = Counter("senang_deliveries_total", "Deliveries by what became of them", ["result", "reason"])
_seconds = Histogram("senang_delivery_seconds", "Time from the first byte read to the answer")


class Gauge(NamedTuple):
    """A number of this moment, or one for each value of a label. Its name gets the prefix `senang_`."""

    name: str
    about: str
    value: float | Mapping[str, float]
    label: str = ""


def count_delivery(result: str, reason: str, seconds: float) -> None:
    """Count one answer to Senang.io. `reason` is a stable code."""
    _deliveries.labels(result, reason).inc()
    _seconds.observe(seconds)


def render(gauges: Iterable[Gauge], *, shared_directory: str | None) -> bytes:
    """The exposition text: the processes' counters, then the gauges."""
    registry = PROCESS_REGISTRY
    if shared_directory:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path=shared_directory)  # type: ignore[no-untyped-call]  # not typed
    return generate_latest(registry) + "".join(map(_exposed, gauges)).encode()


def _exposed(gauge: Gauge) -> str:
    values = {"": gauge.value}
    if isinstance(gauge.value, Mapping):
        values = {f'{{{gauge.label}="{key}"}}': number for key, number in gauge.value.items()}
    lines = [f"# HELP senang_{gauge.name} {gauge.about}", f"# TYPE senang_{gauge.name} gauge"]
    lines += [f"senang_{gauge.name}{labels} {number}" for labels, number in values.items()]
    return "".join(f"{line}\n" for line in lines)
