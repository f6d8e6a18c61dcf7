"""A connection to PostgreSQL on which a savepoint travels with the statement that comes after it.

A round trip costs a worker as much as the statement does, and nobody needs to hear that a savepoint is set before the
next statement is sent. So both go out in one packet, and both answers are read together (libpq's pipeline mode).
psycopg's own pipeline is no help here: it sends each statement by itself, as soon as it is executed.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from select import POLLIN, POLLOUT, poll
from typing import Any, NamedTuple, TypeVar

from psycopg import Connection, OperationalError
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import InvalidSqlStatementName, error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGresult

Found = TypeVar("Found")
MOST_PREPARED = 100
_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class _Adapted(NamedTuple):
    """A statement and its values as libpq takes them."""

    text: bytes
    values: Sequence[Buffer | None]
    types: tuple[int, ...]
    formats: Sequence[Format]


class PipelinedConnection(Connection[Any]):
    """A connection of the driver. Within a transaction it may be told of a `savepoint_to_come`, by its name.

    It is set before whatever is executed next. When that fails the connection is closed: who went on would be undone
    to an older savepoint of that name.
    """

    savepoint_to_come: str | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}  # of what is prepared
        self._numbers = count()

    def wait(self, gen: PQGen[Found], *arguments: Any, **options: Any) -> Found:
        """What psycopg calls for each of its own operations. None of them overtakes the savepoint."""
        if self.savepoint_to_come:
            self._exchange()
        return super().wait(gen, *arguments, **options)

    def send(self, statement: str, parameters: Sequence[Any]) -> None:
        """Execute a statement whose rows and count nobody needs, together with the savepoint that is to come."""
        savepoint = self.savepoint_to_come
        if not savepoint:
            self.execute(statement, parameters)
            return
        try:
            self._exchange(self._adapted(statement, parameters))
        except InvalidSqlStatementName:  # after a ROLLBACK, psycopg has the server forget all that was prepared
            self._names.clear()
            self.execute(f"ROLLBACK TO {savepoint}")
            self.execute(statement, parameters)

    def _adapted(self, statement: str, parameters: Sequence[Any]) -> _Adapted:
        adapting = Transformer(self)
        values = adapting.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
        return _Adapted(_numbered(statement), values, adapting.types or (), adapting.formats or ())

    def _exchange(self, statement: _Adapted | None = None) -> None:
        """Set the savepoint, and execute the statement if there is one. Raises the driver's error."""
        savepoint, self.savepoint_to_come = self.savepoint_to_come, None
        try:
            self.pgconn.enter_pipeline_mode()
            self.pgconn.send_query_params(f"SAVEPOINT {savepoint}".encode(), None)
            if statement is not None:
                self._send(statement)
            self.pgconn.pipeline_sync()
            was_set, *others = self._answers()
            self.pgconn.exit_pipeline_mode()
        except Exception:
            self.close()
            raise
        if was_set.status not in _DONE:
            self.close()
        for answer in (was_set, *others):
            if answer.status not in _DONE:
                raise error_from_result(answer)

    def _send(self, statement: _Adapted) -> None:
        text, values, types, formats = statement
        if name := self._prepared_as(text, types):
            self.pgconn.send_query_prepared(name, values, formats)
        else:
            self.pgconn.send_query_params(text, values, types, formats)

    def _prepared_as(self, text: bytes, types: tuple[int, ...]) -> bytes | None:
        """The name that PostgreSQL knows the statement by. Behind a pooler, where no session is ours, it has none."""
        name = self._names.get((text, types))
        if name is None and self.prepare_threshold is not None and len(self._names) < MOST_PREPARED:
            name = self._names[text, types] = f"sent_{next(self._numbers)}".encode()
            self.pgconn.send_prepare(name, text, types)
        return name

    def _answers(self) -> list[PGresult]:
        """Wait for all of them. Asked for one before it is there, libpq would stop every other thread meanwhile."""
        answers = list[PGresult]()
        socket = poll()
        socket.register(self.pgconn.socket, POLLIN | POLLOUT)
        while self.pgconn.flush():
            socket.poll()
            self.pgconn.consume_input()
        socket.register(self.pgconn.socket, POLLIN)
        while True:
            while self.pgconn.is_busy():
                socket.poll()
                self.pgconn.consume_input()
            answer = self.pgconn.get_result()
            if answer is None:  # there is one behind the answers of each statement
                if self.pgconn.status != ConnStatus.OK:
                    raise OperationalError("the connection is lost")
            elif answer.status == ExecStatus.PIPELINE_SYNC:
                return answers
            else:
                answers.append(answer)


@lru_cache(MOST_PREPARED)
def _numbered(statement: str) -> bytes:
    """The statement with libpq's placeholders instead of psycopg's."""
    first, *others = statement.split("%s")
    return "".join([first, *(f"${number}{part}" for number, part in enumerate(others, 1))]).encode()
