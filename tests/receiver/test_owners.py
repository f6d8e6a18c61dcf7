"""OWNERS is true: each file of the repository has one owner."""

from tests.receiver.owners import KINDS, files, is_in, owner_of, owners
from tests.receiver.processes import ROOT


def test_each_file_has_one_owner():
    """A file that nobody owns, or two own, is one that the next release may not merge."""
    found = {name: owner_of(name) for name in files()}

    assert {name: owned_by for name, owned_by in found.items() if len(owned_by) != 1} == {}


def test_each_line_is_about_something_that_exists():
    there = files()

    assert [place for _, place in owners() if not any(is_in(name, place) for name in there)] == []
    assert {owner for owner, _ in owners()} == set(KINDS)


def test_what_a_fork_shares_with_upstream_is_explained():
    shared = [place for owner, place in owners() if owner == "shared"]

    assert [place for place in shared if f"`{place}`" not in (ROOT / "UPGRADING.md").read_text()] == []
