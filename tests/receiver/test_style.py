"""The code keeps its style and its types: every line of `make lint`, run beside the other tests."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.receiver.processes import ROOT

LINT = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].splitlines()


def test_there_is_something_to_run():
    assert [line.split()[0] for line in LINT] == ["$(BIN)/ruff", "$(BIN)/ruff", "$(BIN)/mypy"]


@pytest.mark.parametrize("line", LINT, ids=str.strip)
def test_make_lint_finds_nothing(line):
    command = [word.replace("$(BIN)", str(Path(sys.executable).parent)) for word in line.split()]

    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert found.returncode == 0, found.stdout + found.stderr
