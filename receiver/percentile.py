"""Percentiles by nearest rank, of values that were counted. A leaf."""

from collections.abc import Mapping
from itertools import accumulate


def percentile(counts: Mapping[float, int], percent: float) -> float:
    """The smallest value that so many percent do not exceed. `counts` says how often each value came; it has some."""
    values = sorted(counts)
    rank = sum(counts.values()) * percent / 100
    reached = zip(values, accumulate(counts[value] for value in values), strict=True)
    return next(value for value, number in reached if number >= rank)
