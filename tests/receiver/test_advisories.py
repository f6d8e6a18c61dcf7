"""`make audit` is red for a known hole, and for nothing else."""

import json

import pytest

from tests.receiver.advisories import known_holes

CLEAN = {"name": "flask", "version": "3.1.3", "vulns": []}
SPOILT = {"name": "werkzeug", "version": "3.1.9", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.10"]}]}
UNKNOWN = {"name": "rich", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def report(*dependencies):
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_a_known_hole_is_named_with_the_version_that_mends_it():
    assert known_holes(report(CLEAN, SPOILT, UNKNOWN)) == ["werkzeug 3.1.9: PYSEC-1, mended in 3.1.10"]


def test_packages_without_a_hole_are_well():
    assert known_holes(report(CLEAN, UNKNOWN)) == []


@pytest.mark.parametrize("text", ["", "no JSON", "{}", "[]", report(UNKNOWN)])
def test_an_index_that_answers_nothing_is_no_hole(text):
    assert known_holes(text) is None
