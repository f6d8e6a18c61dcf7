"""Who owns which file: what the list OWNERS says."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.receiver.processes import ROOT

KINDS = ("ours", "shared", "yours")
OUR_README = "# The Senang.io webhook receiver\n"
"""How the README of upstream begins. A fork has one of its own."""


def is_fork() -> bool:
    """Whether this is a fork, whose README and handlers are its own business."""
    return not (ROOT / "README.md").read_text().startswith(OUR_README)


def owners(folder: Path = ROOT) -> list[tuple[str, str]]:
    """Each line's owner and what it owns: a file, or a folder with / at its end."""
    lines = (line for line in (folder / "OWNERS").read_text().splitlines() if line and not line.startswith("#"))
    return [(owner, place) for owner, place in (line.split(maxsplit=1) for line in lines)]


def owner_of(name: str, folder: Path = ROOT) -> list[str]:
    """The owners of a file. There is one, unless the list is wrong."""
    return [owner for owner, place in owners(folder) if is_in(name, place)]


def is_in(name: str, place: str) -> bool:
    """Whether the file is the place, or in it."""
    return name == place or (place.endswith("/") and name.startswith(place))


def files(folder: Path = ROOT) -> list[str]:
    """The files that git has, or would have after `git add`. An archive, which is no repository, has them too."""
    with TemporaryDirectory() as empty:
        where = [] if (folder / ".git").exists() else [f"--git-dir={empty}", f"--work-tree={folder}"]
        if where:
            subprocess.run(["git", "init", "--quiet", "--bare", empty], check=True)
        command = ["git", "-c", "safe.directory=*", "-c", "core.bare=false", *where, "ls-files"]
        command += ["--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name for name in set(listed) if (folder / name).is_file())
