"""Several statements in one packet to PostgreSQL, and all answers read together (libpq's pipeline mode).

psycopg's own pipeline is no help here: it sends each statement by itself, as soon as it is executed.
"""

from collections.abc import Callable, Sequence
from typing import Any

from psycopg import Connection, generators
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


def together(connection: Connection[Any], *queries: Callable[[], object]) -> list[PGresult]:
    """Call the queries, each of which has libpq send one, and return their answers, whatever they say.

    Raises the driver's error when the connection is lost. After any error the connection is closed: nobody knows what
    it would answer next.
    """
    libpq = connection.pgconn
    try:
        libpq.enter_pipeline_mode()
        for query in queries:
            query()
        libpq.pipeline_sync()
        answers = connection.wait(_answers(libpq))
        libpq.exit_pipeline_mode()
    except Exception:
        connection.close()
        raise
    return answers


def raise_first_error(answers: Sequence[PGresult]) -> None:
    """Raise the driver's error of the first answer that is one. What follows it in a packet was not executed."""
    for answer in answers:
        if answer.status not in _DONE:
            raise error_from_result(answer)


def _answers(libpq: PGconn) -> PQGen[list[PGresult]]:
    """All up to the end of the packet, once it is sent."""
    yield from generators.send(libpq)
    answers = list[PGresult]()
    while (found := (yield from generators.fetch_many(libpq)))[0].status != ExecStatus.PIPELINE_SYNC:
        answers += found
    return answers
