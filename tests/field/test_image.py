"""The image of Dockerfile is built and its three commands run: without root, on a file system that can only be read."""

import json
import shlex
from collections.abc import Iterator

import pytest

from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.field.containers import ABSENT, Built, built, can_run
from tests.field.first_delivery import deliver, states
from tests.field.platforms import ALIVE, PLATFORMS, READY, procfile
from tests.receiver.processes import Receiver

pytestmark = [
    pytest.mark.field,
    pytest.mark.postgresql,
    pytest.mark.skipif(not can_run(), reason=ABSENT),
]


@pytest.fixture(scope="module")
def image() -> Iterator[Built]:
    with built() as found:
        yield found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A port, and what asks at it."""
    found = Receiver({})
    yield found
    found.stop()


@pytest.fixture
def environment(receiver, database_of_a_platform) -> dict[str, str]:
    settings = dict(PLATFORMS["image"]().settings)
    return settings | {"PORT": str(receiver.port), "DATABASE_URL": f"postgres://postgres@{database_of_a_platform[1]}"}


def test_the_image_takes_the_first_delivery_and_stops_in_order(image, receiver, environment, database_of_a_platform):
    assert image.run("release", shlex.split(procfile()["release"]), environment) == 0, image.log_of(
        "release"
    ).read_text()
    web = image.start("web", image.config["Cmd"], environment)
    eventually(lambda: receiver.status(READY) == 200 or web.poll() is not None)

    answer = deliver(receiver.url, environment)

    assert answer.accepted, image.log_of("web").read_text()
    eventually(lambda: states(database_of_a_platform[0]) == ["processed"])
    assert image.within("web", image.config["Healthcheck"]["Test"][1:]) == 0
    assert image.within("web", ["sh", "-c", "touch /receiver/new || touch /new"]) != 0
    assert image.within("web", ["touch", "/tmp/new"]) == 0
    assert image.within("web", ["sh", "-c", "test $(id -u) = 10001"]) == 0
    image.signal("web", "TERM")
    assert web.wait(PATIENCE_SECONDS) == 0, image.log_of("web").read_text()


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_a_worker_that_is_the_first_process_of_its_container_hears_the_signal_to_stop(image, environment, signal):
    name = f"worker-{signal}"
    worker = image.start(name, shlex.split(procfile()["worker"]), environment)
    eventually(lambda: "worker_started" in image.log_of(name).read_text() or worker.poll() is not None)

    image.signal(name, signal)

    assert worker.wait(PATIENCE_SECONDS) == 0, image.log_of(name).read_text()


def test_the_image_has_the_code_and_nothing_else(image):
    """Above all no .env, no tests and no history."""
    found = {path.name for path in (image.root / "receiver").iterdir()} - {"__pycache__"}

    assert found == {"app", "migrations", "receiver", "gunicorn.conf.py", "requirements.txt", "wsgi.py"}
    assert [
        path for path in (image.root / "receiver").rglob("*") if path.stat().st_uid or path.stat().st_mode & 0o022
    ] == []


def test_a_container_says_at_once_which_settings_are_missing(image, receiver):
    status = image.run("unset", image.config["Cmd"], {"PORT": str(receiver.port)})

    assert (status, receiver.status(ALIVE)) == (78, 0)
    assert all(name in image.log_of("unset").read_text() for name in ("SENANG_WEBHOOK_SECRETS", "PAYLOAD_KEYS"))
    assert json.dumps(image.config).count("SECRET") == 0
