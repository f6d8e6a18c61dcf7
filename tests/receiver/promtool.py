"""Prometheus' own checker of rules: the system's, or Debian's package where we may install it."""

import shutil
import subprocess
from functools import cache

import pytest

from tests.receiver.debian import install


def run(*arguments: str) -> str:
    """What promtool says. It must agree."""
    done = subprocess.run([_find(), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def _look_for_it() -> str | None:
    if shutil.which("promtool") is None:
        install("prometheus")
    return shutil.which("promtool")


def _find() -> str:
    found = _look_for_it()
    if found is None:
        pytest.skip("promtool was not found: install the package prometheus")
    return found
