"""How event IDs are dealt out to several places: to buckets by a hash that never changes, and buckets to places."""

from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from itertools import chain

IDS, BUCKETS = 1_000_000, 1024


def spread() -> Iterator[str]:
    """How evenly a hash deals event IDs out, and how many move when there is one place more. None has two places."""
    ids = [f"evt_{number:032x}" for number in range(IDS)]
    assert len({(each, bucket(each)) for each in chain(ids, reversed(ids))}) == IDS  # noqa: S101
    buckets = Counter(map(bucket, ids))
    yield "| places | fewest | most | above the mean | move to one more | move, dealt by the remainder |"
    yield "|--:|--:|--:|--:|--:|--:|"
    for places in (4, 8, 16, 64):
        counts, moved, remainder = Counter[int](), 0, 0
        for number, events in buckets.items():
            counts[number % places] += events
            moved += events * (number % (places + 1) == places)  # the new one takes each so-manieth bucket
            remainder += events * (number % places != number % (places + 1))
        fewest, most = min(counts.values()), max(counts.values())
        above, moved_share, remainder_share = most * places / IDS - 1, moved / IDS, remainder / IDS
        yield f"| {places} | {fewest:,} | {most:,} | {above:.1%} | {moved_share:.1%} | {remainder_share:.1%} |"


def bucket(event_id: str) -> int:
    """The bucket of an event ID. It never changes."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest()) % BUCKETS
