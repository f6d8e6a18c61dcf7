"""What one worker needs beside the inbox, which all processes share: its name, its clocks, and what it remembers.

To let a worker remember something else, add a field. Nothing of it outlives the process.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from receiver.store.inbox import Inbox
from receiver.tracing import Tracing
from receiver.worker.lanes import Lane
from receiver.worker.novelty import Noted
from receiver.worker.pace import OnceASecond, Paces
from receiver.worker.paused import KnownPauses
from receiver.worker.session import guard
from receiver.worker.time_limit import TimeLimit


@dataclass(frozen=True)
class Workbench:
    """The workbench of one worker process. Its `worker` is the name that its leases bear."""

    inbox: Inbox
    worker: str
    limit: TimeLimit = field(default_factory=TimeLimit)
    paces: Paces = field(default_factory=Paces)
    noted: Noted = field(default_factory=Noted)
    lost_leases: OnceASecond = field(default_factory=OnceASecond)
    pauses: KnownPauses = field(default_factory=KnownPauses)
    random: Random = field(default_factory=Random)
    lane: Lane = Lane.ALL
    tracing: Tracing | None = None
    stopwatch: Callable[[], float] = time.monotonic  # seconds; what a worker measures its own pace with

    def __post_init__(self) -> None:
        guard(self.inbox.engine)
