"""What a release says of itself is the same everywhere."""

import re
import tomllib
from datetime import date

import receiver
from tests.receiver.processes import ROOT


def test_the_changelog_begins_with_the_version_that_the_receiver_has_and_its_date():
    newest = re.search(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert newest[1] == receiver.__version__
    assert date.fromisoformat(newest[2])


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "receiver.__version__"}


def test_each_action_of_ci_is_pinned_by_commit_and_may_only_read():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        used = re.findall(r"uses: (\S+)", path.read_text())

        assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []
        assert re.search(r"^permissions:\n  contents: read\n(?!  )", path.read_text(), re.MULTILINE)


def test_only_the_job_that_publishes_the_image_may_write_and_it_runs_after_the_tests():
    """It may push the image and sign as the workflow."""
    workflows = {path.name: path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml")}
    publish = re.search(r"^  publish:\n    needs: test\n(.*)", workflows["release.yml"], re.MULTILINE | re.DOTALL)
    writes = {name: re.findall(r"^ +([\w-]+): write", text, re.MULTILINE) for name, text in workflows.items()}

    assert publish is not None
    assert {name: found for name, found in writes.items() if found} == {"release.yml": ["packages", "id-token"]}
    assert re.findall(r"^      ([\w-]+): write", publish[1], re.MULTILINE) == ["packages", "id-token"]
