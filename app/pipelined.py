"""A connection to PostgreSQL on which a savepoint travels with the statement that comes after it.

A round trip costs a worker as much as the statement does, and nobody needs to hear that a savepoint is set before the
next statement is sent. So both go out in one packet, and both answers are read together (libpq's pipeline mode).
psycopg's own pipeline is no help here: it sends each statement by itself, as soon as it is executed.

That goes for text of our own (`execute_text()`). Where the first statement is likely to be another, for it was so last
time, the savepoint is sent ahead: PostgreSQL sets it while there is other work to be done.
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
_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class PipelinedConnection(Connection[Any]):
    """A connection of the driver. Within a transaction it may be told of a savepoint, by its name.

    It is set before whatever is executed next. When that fails the connection is closed: who went on would be undone
    to an older savepoint of that name.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._savepoint: str | None = None  # that is not known to be set
        self._is_on_its_way = False
        self._is_first_statement = self._text_comes_first = False
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}  # of what is prepared
        self._numbers = count()

    def wait(self, gen: PQGen[Found], *arguments: Any, **options: Any) -> Found:
        """What psycopg calls for all that it asks of the server. None of it overtakes the savepoint."""
        self._note_first(is_text=False)
        if self._savepoint:
            self._set_savepoint()
        return super().wait(gen, *arguments, **options)

    def set_savepoint(self, name: str) -> None:
        """Set it before the next statement: with that, or on its way ahead from now on."""
        self._savepoint, self._is_first_statement = name, True
        if not self._text_comes_first:
            self.pgconn.send_query(_setting(name))
            self._is_on_its_way = True

    def catch_up(self) -> None:
        """Wait for a savepoint that is on its way. Raises the driver's error."""
        if self._is_on_its_way:
            with self.lock:
                self._set_savepoint()

    def execute_text(self, statement: str, parameters: Sequence[Any]) -> None:
        """Execute one statement whose rows and count nobody needs, together with the savepoint that is to come.

        Nothing in it but `%s` is a placeholder. Raises the driver's error.
        """
        self._note_first(is_text=True)
        savepoint = self._savepoint
        if savepoint and not self._is_on_its_way:
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

    def _note_first(self, *, is_text: bool) -> None:
        if self._is_first_statement:
            self._is_first_statement, self._text_comes_first = False, is_text

    def _set_savepoint(self) -> None:
        if self._is_on_its_way:
            self._judge(super().wait(generators.execute(self.pgconn)))
        else:
            self._behind_savepoint()

    def _behind_savepoint(self, *queries: Callable[[], object]) -> None:
        setting = partial(self.pgconn.send_query_params, _setting(self._savepoint or ""), None)
        self._judge(self.together(setting, *queries))

    def _judge(self, answers: Sequence[PGresult]) -> None:
        """The first answer is the savepoint's. Raises the driver's error."""
        if answers[0].status not in _DONE:
            self.close()
        self._savepoint, self._is_on_its_way = None, False
        raise_first_error(answers)


def raise_first_error(answers: Sequence[PGresult]) -> None:
    """Raise the driver's error of the first answer that is one. What follows it in a packet was not executed."""
    for answer in answers:
        if answer.status not in _DONE:
            raise error_from_result(answer)


def _setting(savepoint: str) -> bytes:
    return f"SAVEPOINT {savepoint}".encode()


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
