"""The commands of compose.yml, as they stand, up to the first event that is processed; and the check of the image.

The other platforms' commands run in the laboratory, behind a router.

They run as a user who may write nothing but a temporary folder, on the files that .dockerignore lets into the image.
"""

import json
import shlex
import signal

import pytest

from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.field.deployed import can_run, started
from tests.field.first_delivery import states
from tests.field.platforms import PLATFORMS, READY, instructions, procfile
from tests.receiver.owners import is_fork

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(not can_run(), reason="only root can be another user"),
    pytest.mark.skipif(is_fork(), reason="a fork keeps the files of its own platform, and edits them"),
]


@pytest.mark.soak
def test_the_commands_of_compose_take_the_first_delivery_and_stop_in_order(code, database_of_a_platform):
    deploy, (url, place) = PLATFORMS["compose"](), database_of_a_platform
    with started(code, deploy, place) as deployed:
        deployed.release_and_start()
        eventually(lambda: deployed.status(READY) == 200 or deployed.lost())

        answer = deployed.deliver()

        assert answer.accepted, (answer.text, deployed.said())
        eventually(lambda: states(url) == ["processed"] or deployed.lost())
        assert deployed.stop() == [0] * len(deployed.processes), deployed.said()


@pytest.mark.soak
def test_the_check_of_the_image_passes_while_the_process_answers_and_fails_when_it_does_not(
    code, database_of_a_platform
):
    """Its port is the one that the platform sets, and no database is asked."""
    check = json.loads(next(rest for word, rest in instructions() if word == "HEALTHCHECK").partition("CMD ")[2])
    with started(code, PLATFORMS["image"](), database_of_a_platform[1]) as deployed:
        web = deployed.start(procfile()["web"])
        eventually(lambda: deployed.status("/healthz") == 200)
        assert deployed.status(READY) == 503  # the release phase never ran
        assert deployed.run(shlex.join(check)) == 0

        web.send_signal(signal.SIGTERM)

        assert web.wait(PATIENCE_SECONDS) == 0
        assert deployed.run(shlex.join(check)) != 0
