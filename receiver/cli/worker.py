"""`worker`: the command that runs the handlers of events that are due, and keeps house between them.

What a worker does besides events stands in `UPKEEP`: each part takes one bounded turn and says when it wants the next.
"""

import os
from contextlib import suppress

import click
import structlog
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from receiver.actions import bulk, pause
from receiver.alerts.starting import Alerting
from receiver.cli.context import Amount, refuse_environment
from receiver.maintenance.retention import purge_if_due
from receiver.maintenance.rollup import roll_up_if_due
from receiver.present import present_inbox
from receiver.server.start import database_mistake, refuse, say_doubts
from receiver.settings.budget import of_a_worker
from receiver.store.audit import write_finished_sums
from receiver.store.inbox import Inbox
from receiver.store.schema import remedy_of, takes_writes
from receiver.worker.lanes import lanes
from receiver.worker.processes import Supervisor
from receiver.worker.upkeep import Part

DRAIN_PATIENCE_SECONDS = 30.0
SUMS_SECONDS = 10.0
PURGE_SECONDS, MORE_TO_PURGE_SECONDS = 60.0, 2.0
LOOK_FOR_BULK_ACTS_SECONDS = 1.0
LOOK_FOR_PAUSES_SECONDS = 1.0
log = structlog.get_logger()


@click.command()
@click.option("--processes", type=click.IntRange(1, 64), help="Default: WORKER_PROCESSES.")
@click.option("--drain", is_flag=True, help="Stop when nothing is due.")
@click.option(
    "--patience",
    type=Amount(0),
    default=DRAIN_PATIENCE_SECONDS,
    show_default=True,
    help="With --drain: seconds without the database after which it fails.",
)
@click.option("--parent", type=int, hidden=True, help="Stop when this process is gone.")
@with_appcontext
def worker(processes: int | None, drain: bool, patience: float, parent: int | None) -> None:
    """Run the handlers of events that are due."""
    inbox = present_inbox()
    wanted = lanes(inbox.settings, processes or inbox.settings.worker_processes)
    with suppress(SQLAlchemyError):  # a database that is away now may come
        refuse_environment(inbox)
    if parent is None:  # else gunicorn has said it
        say_doubts(inbox.settings)
        needed = of_a_worker(len(wanted))
        if mistake := database_mistake(inbox.settings, least=needed, most=needed):
            refuse(mistake)
        _say_database_problem(inbox)
    supervisor = Supervisor(
        inbox,
        wanted,
        parent or os.getppid(),
        upkeep=UPKEEP,
        drain_patience=patience if drain else None,
    )
    supervisor.run()
    if supervisor.gave_up:
        raise click.ClickException(
            f"The database did not answer for {patience:g} seconds. What is due stays due: run this again."
        )


def _say_database_problem(inbox: Inbox) -> None:
    """Such as a release phase that never ran. A database that is away is said again and again, as long as it is."""
    with suppress(SQLAlchemyError):
        if problem := takes_writes(inbox):
            log.error("not_ready", reason=problem, **remedy_of(problem))


def _sum_up(inbox: Inbox, _worker: str) -> float:
    roll_up_if_due(inbox)
    return SUMS_SECONDS


def _write_counts(inbox: Inbox, _worker: str) -> float:
    write_finished_sums(inbox)
    return SUMS_SECONDS


def _purge(inbox: Inbox, worker: str) -> float:
    return MORE_TO_PURGE_SECONDS if purge_if_due(inbox, actor=worker) else PURGE_SECONDS


def _act_in_bulk(inbox: Inbox, _worker: str) -> float:
    return 0.0 if bulk.step(inbox) else LOOK_FOR_BULK_ACTS_SECONDS


def _put_aside(inbox: Inbox, _worker: str) -> float:
    return 0.0 if pause.step(inbox) else LOOK_FOR_PAUSES_SECONDS


UPKEEP: dict[str, Part] = {
    "sums": _sum_up,
    "counts": _write_counts,
    "purge": _purge,
    "bulk act": _act_in_bulk,
    "pauses": _put_aside,
    "alerts": Alerting(),
}
"""What a worker does between two batches, by the name that its log lines say."""
