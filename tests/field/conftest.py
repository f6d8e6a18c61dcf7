"""What the tests of deploys share."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.field.deployed import code_of_the_image
from tests.field.relay import relay


@pytest.fixture
def database_of_a_platform(postgres) -> Iterator[tuple[str, str]]:
    """An empty database: its URL for the test, and the address, port and name by which a platform has it."""
    with postgres.database() as url, relay(Path(parse_qs(urlsplit(url).query)["host"][0])) as port:
        yield url.replace("postgresql:", "postgresql+psycopg:"), f"127.0.0.1:{port}{urlsplit(url).path}"


@pytest.fixture(scope="session")
def code() -> Iterator[Path]:
    """The files of the image."""
    with code_of_the_image() as folder:
        yield folder
