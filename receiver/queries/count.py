"""Numbers of rows that are counted only up to a cap, and beyond it are "more than". Pure.

To compare a count with a limit, count at least up to that limit: `cap_for()`.
"""

from dataclasses import dataclass

COUNT_CAP = 10_000
"""The cap. Beyond it, the exact number helps nobody, and counting costs too much."""


@dataclass(frozen=True)
class Count:
    """A number, exact unless `capped`: then there are more. As text it is "9,999" or "10,000+"."""

    number: int
    capped: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.capped else ''}"

    @classmethod
    def of(cls, number: int, cap: int) -> "Count":
        """The count of rows of which one more than the cap were looked at."""
        return cls(min(number, cap), number > cap)

    def exceeds(self, limit: int) -> bool:
        """Whether there are more. The limit must not be higher than the cap."""
        return self.capped or self.number > limit


def cap_for(*limits: int) -> int:
    """How far to count for a comparison with these limits."""
    return max(COUNT_CAP, *limits)


def total(counts: "list[Count]") -> Count:
    """The sum: exact only where every part is."""
    return Count(sum(count.number for count in counts), any(count.capped for count in counts))
