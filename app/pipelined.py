"""A connection to PostgreSQL on which a savepoint travels with the statement that comes after it.

A round trip costs a worker as much as the statement does, and nobody needs to hear that a savepoint is set before the
next statement is sent. So both go out in one packet, and both answers are read together (libpq's pipeline mode).
psycopg's own pipeline is no help here: it sends each statement by itself, as soon as it is executed.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import count
from typing import Any, TypeVar

from psycopg import Connection, generators
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import InvalidSqlStatementName, error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

Found = TypeVar("Found")
MOST_PREPARED = 100
DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class PipelinedConnection(Connection[Any]):
    """A connection of the driver. Within a transaction it may be told of a `savepoint_to_come`, by its name.

    It is set before whatever is executed next. When that fails the connection is closed: who went on would be undone
    to an older savepoint of that name.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.savepoint_to_come: str | None = None
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}  # of what is prepared
        self._numbers = count()

    def wait(self, gen: PQGen[Found], *arguments: Any, **options: Any) -> Found:
        """What psycopg calls for all that it asks of the server. None of it overtakes the savepoint."""
        if self.savepoint_to_come:
            self._behind_savepoint()
        return super().wait(gen, *arguments, **options)

    def execute_text(self, statement: str, parameters: Sequence[Any]) -> None:
        """Execute one statement whose rows and count nobody needs, together with the savepoint that is to come.

        Nothing in it but `%s` is a placeholder. Raises the driver's error.
        """
        savepoint = self.savepoint_to_come
        if savepoint:
            try:
                if self._execute_behind_savepoint(statement, parameters):
                    return
            except InvalidSqlStatementName:  # psycopg lets the server forget all that is prepared, after a ROLLBACK say
                self._names.clear()
                self.execute(f"ROLLBACK TO {savepoint}")
        self.execute(statement, parameters)

    def together(self, *queries: Callable[[], object]) -> list[PGresult]:
        """Call the queries, each of which has libpq send one, and read their answers, whatever they say.

        Raises the driver's error when the connection is lost. After any error it is closed: nobody knows what it would
        answer next.
        """
        try:
            self.pgconn.enter_pipeline_mode()
            for query in queries:
                query()
            self.pgconn.pipeline_sync()
            answers = super().wait(_answers(self.pgconn))
            self.pgconn.exit_pipeline_mode()
        except Exception:
            self.close()
            raise
        return answers

    def _execute_behind_savepoint(self, statement: str, parameters: Sequence[Any]) -> bool:
        """Whether it is executed now. One that is to be prepared is not yet, but from then on it has a name."""
        adapted = Transformer(self)
        values = adapted.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
        text, types, formats = _numbered(statement), adapted.types or (), adapted.formats or ()
        name = self._names.get((text, types))
        with self.lock:
            if name:
                self._behind_savepoint(partial(self.pgconn.send_query_prepared, name, values, formats))
            elif self.prepare_threshold is None or len(self._names) >= MOST_PREPARED:  # a pooler's sessions aren't ours
                self._behind_savepoint(partial(self.pgconn.send_query_params, text, values, types, formats))
            else:
                name = f"sent_{next(self._numbers)}".encode()
                self._behind_savepoint(partial(self.pgconn.send_prepare, name, text, types))
                self._names[text, types] = name
                return False
        return True

    def _behind_savepoint(self, *queries: Callable[[], object]) -> None:
        savepoint = f"SAVEPOINT {self.savepoint_to_come}".encode()
        was_set, *others = self.together(partial(self.pgconn.send_query_params, savepoint, None), *queries)
        if was_set.status not in DONE:
            self.close()
        self.savepoint_to_come = None
        for answer in (was_set, *others):
            if answer.status not in DONE:
                raise error_from_result(answer)


def _answers(libpq: PGconn) -> PQGen[list[PGresult]]:
    """All up to the end of the packet, once it is sent."""
    yield from generators.send(libpq)
    answers = list[PGresult]()
    while (found := (yield from generators.fetch_many(libpq)))[0].status != ExecStatus.PIPELINE_SYNC:
        answers += found
    return answers


@lru_cache(MOST_PREPARED)
def _numbered(statement: str) -> bytes:
    """The statement with libpq's placeholders instead of psycopg's."""
    first, *others = statement.split("%s")
    return "".join([first, *(f"${number}{part}" for number, part in enumerate(others, 1))]).encode()
