"""What the tests of deploys share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.field.deployed import code_of_the_image
from tests.field.relay import as_on_a_platform


@pytest.fixture
def database_of_a_platform(postgres) -> Iterator[tuple[str, str]]:
    """An empty database: its URL for the test, and the address, port and name by which a platform has it."""
    with postgres.database() as url, as_on_a_platform(url) as database:
        yield database


@pytest.fixture(scope="session")
def code() -> Iterator[Path]:
    """The files of the image."""
    with code_of_the_image() as folder:
        yield folder
