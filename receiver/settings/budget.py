"""How many connections to PostgreSQL each process opens at most, so that a machine keeps within its budget.

DATABASE_CONNECTIONS is the budget of one machine: of gunicorn with all that it starts, or of one `flask worker`. What a
worker needs is fixed, and web processes share the rest. SQLite has no such limit. If a process shall open one more
connection beside its pools, count it here.

Deliveries have a pool of their own: no page, however slow, takes the connection that a delivery needs.
"""

from dataclasses import dataclass

WEB_PROCESSES = 2
"""Of gunicorn, on PostgreSQL, where nobody says anything else."""
COMMITTER = 1
PAGES = 2
"""Also for a command: it reads a list on one connection and changes what it finds on another."""
DELIVERIES, LEAST_DELIVERIES = 3, 1
"""For duplicates, refusals and what is quarantined. New events are the committer's."""
OF_A_WEB_PROCESS = COMMITTER + DELIVERIES + PAGES
LEAST_OF_A_WEB_PROCESS = COMMITTER + LEAST_DELIVERIES + PAGES
OF_A_WORKER_PROCESS = 2
"""It works on one, and listens on the other."""
OF_WORKERS_PARENT = 1
OF_A_COMMAND = PAGES
"""`db upgrade` too: one connection migrates, the other holds the lock."""
ON_SQLITE = 15
"""Connections are open files there, which nobody counts."""


@dataclass(frozen=True)
class Share:
    """What one web process may open, beside the connection of its committer."""

    deliveries: int
    pages: int


def of_a_worker(processes: int) -> int:
    """What a worker with so many processes needs."""
    return OF_WORKERS_PARENT + OF_A_WORKER_PROCESS * processes


def usual(web_processes: int, worker_processes: int | None) -> int:
    """The budget of a machine that was given none. `worker_processes` run beside the web processes, or None do."""
    return OF_A_WEB_PROCESS * web_processes + _beside(worker_processes)


def least(web_processes: int, worker_processes: int | None) -> int:
    """The smallest budget with which they can work."""
    return LEAST_OF_A_WEB_PROCESS * web_processes + _beside(worker_processes)


def share(budget: int, web_processes: int, worker_processes: int | None) -> Share:
    """What each web process may open. It is never less than it needs."""
    own = max(LEAST_OF_A_WEB_PROCESS, (budget - _beside(worker_processes)) // web_processes) - COMMITTER
    pages = max(PAGES, own // 2)
    return Share(deliveries=own - pages, pages=pages)


def _beside(worker_processes: int | None) -> int:
    return 0 if worker_processes is None else of_a_worker(worker_processes)
